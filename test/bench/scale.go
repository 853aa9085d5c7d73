package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
)

const (
	// scaleDevices is how many devices the links of a plant of thousands share: a listening
	// socket for each link is another plant's trouble.
	scaleDevices = 200
	// scaleWithin is how long links may take to be up, and a reload to be in force.
	scaleWithin = 3 * time.Minute
	// scaleLooks is how often the status of a plant that runs is asked.
	scaleLooks = 10
)

// A scaleResult is what one size of plant gave. It is printed as it is: there is no
// limit to set beside it but the links themselves.
type scaleResult struct {
	Figure    string  `json:"figure"`
	Links     int     `json:"links"`
	Instances int     `json:"instances"`
	Up        int     `json:"links_up"`
	UpAfter   float64 `json:"up_after_s"` // from the start of the gateway
	Restarts  uint64  `json:"restarts"`
	// A status is wrong where it calls a link down, or has no samples of a driver, while
	// the simulator was asked by all of them.
	Status       float64  `json:"status_median_ms"`
	StatusWorst  float64  `json:"status_worst_ms"`
	StatusWrong  int      `json:"status_wrong"`
	StatusAsked  int      `json:"status_asked"`
	Polls        float64  `json:"polls_per_s"`
	CoreMB       float64  `json:"core_mb"`
	InstanceMB   []string `json:"instances_mb"`
	Reload       float64  `json:"reload_s"` // with another timeout for half of the links, until they are up
	ReloadUp     int      `json:"reload_links_up"`
	ReloadEnds   uint64   `json:"reload_restarts"`
	Warnings     []string `json:"check,omitempty"`
	CoreAfterMB  float64  `json:"core_after_reload_mb"`
	Unattended   []string `json:"instances_after_reload_mb"`
	FirstTrouble string   `json:"trouble,omitempty"`
}

// scale is a driver with thousands of links: what it takes, how true its status is, and
// what a change of half of them costs.
func (b *bench) scale() error {
	for _, text := range strings.Split(b.links, ",") {
		n, instances := text, "1"
		if before, after, ok := strings.Cut(text, "/"); ok {
			n, instances = before, after
		}
		links, err1 := strconv.Atoi(n)
		count, err2 := strconv.Atoi(instances)
		if err := errors.Join(err1, err2); err != nil {
			return fmt.Errorf("links %q: write LINKS or LINKS/INSTANCES: %w", text, err)
		}
		if err := b.scaleOf(links, count); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) scaleOf(links, instances int) error {
	s, err := startSim(min(links, scaleDevices), 11)
	if err != nil {
		return err
	}
	defer s.stop()
	g, err := startGatewayWith(b.bin, b.scaleLinks(s, links, "2s"), b.scaleSettings(instances))
	if err != nil {
		return err
	}
	defer g.stop()
	m := &scaleRun{g: g, s: s, c: client.New(filepath.Join(g.dir, "data", "fieldloom.sock")),
		r: scaleResult{Figure: "scale", Links: links, Instances: instances}}
	defer m.c.Close()
	err = m.take(b)
	err = errors.Join(err, json.NewEncoder(os.Stdout).Encode(&m.r))
	if b.keep != "" {
		text, _ := os.ReadFile(g.log.Name())
		_ = os.WriteFile(fmt.Sprintf("%s-%d-%d.log", b.keep, links, instances), text, 0o600)
	}
	return err
}

func (b *bench) scaleSettings(instances int) string {
	if instances == 0 {
		return ""
	}
	return fmt.Sprintf("processes:\n  modbus: {instances: %d, memory: 2GB}\n", instances)
}

// scaleLinks has a link to one device each; half of them have a timeout of their own.
func (b *bench) scaleLinks(s *simProcess, links int, timeout string) string {
	var text strings.Builder
	text.WriteString("templates:\n  fleet:\n    points:\n      slot: {address: \"holding:0:uint32\"}\n      reg[2..10]: {address: \"holding:{n}\"}\nlinks:\n")
	for i := range links {
		own := "2s"
		if i%2 == 0 {
			own = timeout
		}
		fmt.Fprintf(&text, "  plc%d: {driver: modbus, url: \"tcp://%s\", timeout: %s, scan: {default: %v}, devices: {d: {template: fleet}}}\n",
			i+1, s.addrs[i%len(s.addrs)], own, b.period)
	}
	return text.String()
}

// A scaleRun is one run of a plant.
type scaleRun struct {
	g *gateway
	s *simProcess
	c *client.Client
	r scaleResult
}

func (m *scaleRun) take(b *bench) error {
	began := time.Now()
	if err := m.awaitUp(&m.r.Up); err != nil {
		return err
	}
	m.r.UpAfter = time.Since(began).Seconds()
	time.Sleep(2 * b.period)
	if err := m.look(b); err != nil {
		return err
	}
	core, instances, err := m.resident()
	if err != nil {
		return err
	}
	m.r.CoreMB, m.r.InstanceMB = core, instances
	before, err := m.restarts()
	if err != nil {
		return err
	}
	m.r.Restarts = before
	began = time.Now()
	path := filepath.Join(m.g.dir, "links", "links.yaml")
	if err := os.WriteFile(path, []byte(b.scaleLinks(m.s, m.r.Links, "3s")), 0o600); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), scaleWithin)
	defer cancel()
	if _, err := m.c.Reload(ctx); err != nil {
		m.trouble(err)
	}
	if err := m.awaitUp(&m.r.ReloadUp); err != nil {
		return err
	}
	m.r.Reload = time.Since(began).Seconds()
	after, err := m.restarts()
	if err != nil {
		return err
	}
	m.r.ReloadEnds = after - before
	m.r.CoreAfterMB, m.r.Unattended, err = m.resident()
	return err
}

func (m *scaleRun) trouble(err error) {
	if m.r.FirstTrouble == "" {
		m.r.FirstTrouble = err.Error()
	}
}

// awaitUp waits until all links are up, or the number of those has not grown for long.
func (m *scaleRun) awaitUp(up *int) error {
	grown := time.Now()
	for limit := time.Now().Add(scaleWithin); time.Now().Before(limit) && time.Since(grown) < time.Minute; time.Sleep(200 * time.Millisecond) {
		s, err := m.status()
		if err != nil {
			m.trouble(err)
			continue
		}
		n := 0
		for i := range s.Links {
			if s.Links[i].State == "up" {
				n++
			}
		}
		if n != *up {
			*up, grown = n, time.Now()
		}
		if n == m.r.Links {
			return nil
		}
	}
	return nil
}

func (m *scaleRun) status() (*client.Status, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return m.c.Status(ctx)
}

// look asks the status of a plant that runs, and judges it.
func (m *scaleRun) look(b *bench) error {
	var took []float64
	polls, err := m.s.requests()
	if err != nil {
		return err
	}
	began := time.Now()
	for range scaleLooks {
		asked := time.Now()
		s, err := m.status()
		if err != nil {
			m.trouble(err)
			m.r.StatusWrong++
			continue
		}
		took = append(took, float64(time.Since(asked).Microseconds())/1000)
		if why := wrongStatus(s); why != "" {
			m.r.StatusWrong++
			m.trouble(errors.New(why))
		}
		time.Sleep(b.period / scaleLooks)
	}
	after, err := m.s.requests()
	if err != nil {
		return err
	}
	m.r.StatusAsked = scaleLooks
	m.r.Polls = float64(after-polls) / time.Since(began).Seconds()
	if len(took) > 0 {
		m.r.Status, m.r.StatusWorst = median(took), slices.Max(took)
	}
	return nil
}

// wrongStatus tells what a status says that is not so while the plant runs.
func wrongStatus(s *client.Status) string {
	for i := range s.Drivers {
		if s.Drivers[i].Samples == 0 {
			return "driver " + s.Drivers[i].Name + " has 0 samples"
		}
	}
	for i := range s.Links {
		l := &s.Links[i]
		if l.State != "up" {
			text := "link " + l.Name + " is " + l.State
			if l.Cause != nil {
				text += ": " + l.Cause.Text
			}
			return text
		}
	}
	return ""
}

func (m *scaleRun) restarts() (n uint64, err error) {
	s, err := m.status()
	if err != nil {
		return 0, err
	}
	for i := range s.Drivers {
		n += s.Drivers[i].Restarts
	}
	return n, nil
}

// resident is what the core and each driver process has in memory, in MB.
func (m *scaleRun) resident() (core float64, instances []string, err error) {
	pids, err := family(m.g.cmd.Process.Pid)
	if err != nil {
		return 0, nil, err
	}
	for i, pid := range pids {
		bytes, err := residentOf(pid)
		if err != nil {
			return 0, nil, err
		}
		if i == 0 {
			core = megabytes(bytes)
		} else {
			instances = append(instances, fmt.Sprintf("%.0f", megabytes(bytes)))
		}
	}
	return core, instances, nil
}
