package gateway

import (
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/gateway/internal/choices"
)

func TestOfflineLinesOfADriverThatRests(t *testing.T) {
	a := plant()
	c := (&choices.Choices{Resting: map[string]time.Time{"modbus": time.Unix(1, 0)}, Offline: map[string]time.Time{"old": time.Unix(1, 0)}}).Clone()
	if _, _, err := offlineLines(a, c, client.LineRequest{Names: []string{"line1"}}); driver.CodeOf(err) != driver.BadValue {
		t.Errorf("a link of a driver that is off line: %v", err)
	}
	if _, lines, err := offlineLines(a, c, client.LineRequest{Driver: "modbus"}); err != nil || len(lines) != 1 {
		t.Errorf("the driver: %v, %v", lines, err)
	}
	if _, _, err := offlineLines(a, c, client.LineRequest{Driver: "mqtt"}); driver.CodeOf(err) != driver.BadValue {
		t.Errorf("a driver that is on line: %v", err)
	}
	if _, _, err := offlineLines(a, c, client.LineRequest{Names: []string{"old"}}); driver.CodeOf(err) != driver.NotFound {
		t.Errorf("a link that is not configured any more: %v", err)
	}
	results, lines, err := offlineLines(a, c, client.LineRequest{Names: []string{"line2"}})
	if err != nil || len(lines) != 0 || len(results) != 1 {
		t.Errorf("a link that is on line: %v, %v, %v", results, lines, err)
	}
}
