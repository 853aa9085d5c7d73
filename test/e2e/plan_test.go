package e2e_test

import (
	"fmt"
	"testing"

	"github.com/fieldloom/fieldloom/simulator"
	"github.com/fieldloom/fieldloom/test/plant"
)

// requestsAPoll runs one device with the points and tells how many requests a
// poll cost once everything was learned.
func requestsAPoll(t *testing.T, image *simulator.Image, points string) (float64, *plant.Gateway) {
	t.Helper()
	bins := plant.Build(t)
	sim := simulator.Start(t, simulator.Config{Servers: []simulator.ServerConfig{{
		Name: "m1", Protocol: simulator.Modbus, Devices: []simulator.DeviceConfig{{Name: "m1", Unit: 1, Image: image}},
	}}})
	dir := t.TempDir()
	bins.WriteConfig(t, dir, "", fmt.Sprintf("links:\n  plc1: {driver: modbus, url: \"tcp://%s\", scan: {default: 50ms}, devices: {d: {points: {%s}}}}\n",
		sim.Addr("m1"), points))
	g := bins.Start(t, dir)
	polls := func() uint64 {
		s, err := g.Status()
		if err != nil || len(s.Links) == 0 || len(s.Links[0].Devices) == 0 {
			return 0
		}
		return s.Links[0].Devices[0].Polls
	}
	plant.Eventually(t, patience, func() error {
		if n := polls(); n < 20 {
			return fmt.Errorf("%d polls", n)
		}
		return nil
	})
	// Polls go on between the two looks; over many of them the odd one does not count.
	p1, r1 := polls(), sim.Device("m1").Counts().Requests
	plant.Eventually(t, patience, func() error {
		if n := polls(); n < p1+60 {
			return fmt.Errorf("%d polls", n-p1)
		}
		return nil
	})
	p2, r2 := polls(), sim.Device("m1").Counts().Requests
	return float64(r2-r1) / float64(p2-p1), g
}

func TestRequestsAPoll(t *testing.T) {
	for _, c := range []struct {
		name, points string
		illegal      []string
		least, most  float64
	}{
		{"100 registers at stride 2", `"r[0..99]": {address: "holding:{n*2}"}`, nil, 1.8, 2.2},
		{"130 contiguous int16", `"r[0..129]": {address: "holding:{n}:int16"}`, nil, 1.8, 2.2},
		{"one illegal address in 100", `"r[0..99]": {address: "holding:{n}"}`, []string{"holding:50"}, 1.8, 4.2},
	} {
		t.Run(c.name, func(t *testing.T) {
			image := simulator.StandardImage(250)
			image.Illegal = c.illegal
			requests, g := requestsAPoll(t, image, c.points)
			if requests < c.least || requests > c.most {
				t.Errorf("%.2f requests a poll, want %.1f to %.1f", requests, c.least, c.most)
			}
			t.Logf("%.2f requests a poll", requests)
			if c.illegal != nil {
				judgeIsolated(t, g)
			}
		})
	}
}

// judgeIsolated reads all 100 points: only the illegal one is Bad, and says why.
func judgeIsolated(t *testing.T, g *plant.Gateway) {
	t.Helper()
	latest := map[string]plant.Sample{}
	for _, s := range g.Stored("plc1/d/*") {
		latest[s.Point] = s
	}
	good := 0
	for point, s := range latest {
		switch {
		case s.Quality == "good":
			good++
		case point != "r50":
			t.Errorf("%s is %s: %s", point, s.Quality, s.Fault)
		}
	}
	if bad := latest["r50"]; good != 99 || bad.Fault != "not-found: exception 2 (illegal data address)" {
		t.Errorf("%d good; r50 is %s with %q", good, bad.Quality, bad.Fault)
	}
}
