package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/simulator"
)

const (
	lineUnits = 247 // of a line
	// silentTimeout is the time-out of a unit that is not there.
	silentTimeout = 50 * time.Millisecond
	// betweenUnits is the pause that the gateway leaves for polls between two candidates.
	betweenUnits = 5 * time.Millisecond
)

// discover is a discovery of the 247 units of an RTU line beside the polls of one of them: where
// all of them are there, against the pauses between two candidates; and where 5 are, against the
// time-outs of the others.
func (b *bench) discover() error {
	for _, there := range []int{lineUnits, 5} {
		limit := lineUnits * betweenUnits
		if there < lineUnits {
			limit = time.Duration(lineUnits-there) * silentTimeout
		}
		var took, limits []float64
		for range b.runs {
			d, err := b.discoverOnce(there)
			if err != nil {
				return err
			}
			took, limits = append(took, d.Seconds()), append(limits, limit.Seconds())
		}
		if err := report(fmt.Sprintf("discover-247-with-%d-there", there), "s", took, limits); err != nil {
			return err
		}
	}
	return nil
}

// discoverOnce finds so many units of a line, and tells how long that took.
func (b *bench) discoverOnce(there int) (time.Duration, error) {
	line := simulator.ServerConfig{Name: "line", Protocol: simulator.Modbus, Framing: "rtu"}
	for i := range there {
		line.Devices = append(line.Devices, simulator.DeviceConfig{Name: fmt.Sprintf("u%d", i+1), Unit: byte(i + 1),
			Image: &simulator.Image{Ranges: []string{"holding:0-9"}}})
	}
	sim, err := simulator.Run(context.Background(), &simulator.Config{Servers: []simulator.ServerConfig{line}})
	if err != nil {
		return 0, err
	}
	defer sim.Close()
	g, err := startGateway(b.bin, fmt.Sprintf("links:\n  line: {driver: modbus, url: \"tcp://%s\", framing: rtu, timeout: %v, scan: {default: 1s}, "+
		"devices: {d: {points: {v: {address: \"holding:0\"}}}}}\n", sim.Addr("line"), silentTimeout))
	if err != nil {
		return 0, err
	}
	defer g.stop()
	c := client.New(filepath.Join(g.dir, "data", "fieldloom.sock"))
	defer c.Close()
	if err := awaitRead(c, "line/d/v"); err != nil {
		return 0, err
	}
	found, began := 0, time.Now()
	err = c.Discover(context.Background(), client.DiscoverOptions{Link: "line"}, func(d client.Discovery) error {
		if d.Found != nil {
			found++
		}
		return nil
	})
	if err == nil && found != there {
		err = fmt.Errorf("%d units were found where %d are", found, there)
	}
	return time.Since(began), err
}

// awaitRead waits until a point can be read.
func awaitRead(c *client.Client, point string) error {
	var err error
	for range 200 {
		var samples []client.Sample
		samples, err = c.Read(context.Background(), point)
		if err == nil && samples[0].Fault == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("%s cannot be read: %w", point, err)
}
