package operator

import (
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/gateway/internal/choices"
	"github.com/fieldloom/fieldloom/core/gateway/internal/inforce"
)

func plant() *inforce.Config {
	table := &control.Table{Points: []control.Point{
		{Name: "u", Readable: true}, {Name: "set", Writable: true}, {Name: "i", Readable: true, Writable: true},
	}}
	class := []control.Class{{Name: "default"}}
	return &inforce.Config{Config: &config.Config{Links: []*config.Link{
		{Name: "line1", Driver: "modbus", Classes: class, Devices: []*config.Device{{Name: "m1", Table: table}, {Name: "m2", Table: table}}},
		{Name: "line2", Driver: "mqtt", Classes: class, Devices: []*config.Device{{Name: "m1", Table: table}}},
	}}}
}

func TestOfflineLinesOfADriverThatRests(t *testing.T) {
	a := plant()
	c := (&choices.Choices{Resting: map[string]time.Time{"modbus": time.Unix(1, 0)}, Offline: map[string]time.Time{"old": time.Unix(1, 0)}}).Clone()
	if _, _, err := offlineTargets(a, c, client.LineRequest{Names: []string{"line1"}}); driver.CodeOf(err) != driver.BadValue {
		t.Errorf("a link of a driver that is off line: %v", err)
	}
	if _, lines, err := offlineTargets(a, c, client.LineRequest{Driver: "modbus"}); err != nil || len(lines) != 1 {
		t.Errorf("the driver: %v, %v", lines, err)
	}
	if _, _, err := offlineTargets(a, c, client.LineRequest{Driver: "mqtt"}); driver.CodeOf(err) != driver.BadValue {
		t.Errorf("a driver that is on line: %v", err)
	}
	if _, _, err := offlineTargets(a, c, client.LineRequest{Names: []string{"old"}}); driver.CodeOf(err) != driver.NotFound {
		t.Errorf("a link that is not configured any more: %v", err)
	}
	results, lines, err := offlineTargets(a, c, client.LineRequest{Names: []string{"line2"}})
	if err != nil || len(lines) != 0 || len(results) != 1 {
		t.Errorf("a link that is on line: %v, %v, %v", results, lines, err)
	}
}
