package inforce_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
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

func TestSelected(t *testing.T) {
	for _, test := range []struct {
		patterns []string
		want     []string
	}{
		{nil, []string{"line1/m1/u", "line1/m1/set", "line1/m1/i", "line1/m2/u", "line1/m2/set", "line1/m2/i", "line2/m1/u", "line2/m1/set", "line2/m1/i"}},
		{[]string{"line1/m1/u"}, []string{"line1/m1/u"}},
		{[]string{"line2"}, []string{"line2/m1/u", "line2/m1/set", "line2/m1/i"}},
		{[]string{"line1/m2"}, []string{"line1/m2/u", "line1/m2/set", "line1/m2/i"}},
		{[]string{"*/m1/u"}, []string{"line1/m1/u", "line2/m1/u"}},
		{[]string{"line?/m[2-9]/*t"}, []string{"line1/m2/set"}},
		{[]string{"line2/m1/i", "line1/m1/u", "line1/m1/*"}, []string{"line1/m1/u", "line1/m1/set", "line1/m1/i", "line2/m1/i"}},
		{[]string{"nix", "line1/nix", "line1/m1/nix"}, nil},
	} {
		var got []string
		for at := range plant().Selected(test.patterns) {
			got = append(got, at.Link.Name+"/"+at.Device.Name+"/"+at.Point.Name)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%v (-want +got):\n%s", test.patterns, diff)
		}
	}
}

func TestTargetsForIsAllOrNothing(t *testing.T) {
	a := plant()
	for _, q := range []struct {
		request client.LineRequest
		want    []inforce.Target
	}{
		{client.LineRequest{Names: []string{"line1", "line2/m1", "line1"}}, []inforce.Target{{"line1", ""}, {"line2", "m1"}}},
		{client.LineRequest{Driver: "modbus"}, []inforce.Target{{"line1", ""}}},
		{client.LineRequest{Names: []string{"line1", "line9"}}, nil},
		{client.LineRequest{Names: []string{"line1/m9"}}, nil},
		{client.LineRequest{Names: []string{"line1/m1/u"}}, nil},
		{client.LineRequest{Names: []string{""}}, nil},
		{client.LineRequest{Driver: "nix"}, nil},
	} {
		got, err := a.TargetsFor(q.request)
		if diff := cmp.Diff(q.want, got); diff != "" || (err != nil) != (q.want == nil) {
			t.Errorf("%+v: %v %s", q.request, err, diff)
		}
		if err != nil && driver.CodeOf(err) != driver.NotFound {
			t.Errorf("%+v: %v", q.request, err)
		}
	}
}
