package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/gateway"
)

const (
	maxHosts = 1024
	// hostsAtOnce are asked at the same time, and a host is begun every hostEvery at most.
	hostsAtOnce = 8
	hostEvery   = 20 * time.Millisecond
	hostTimeout = 500 * time.Millisecond
	// driverStart is how long the driver may take to start.
	driverStart = 10 * time.Second
)

// hosts looks for devices on hosts. A driver reaches nothing but the endpoints of its links, so
// it is not one of the gateway that runs: a gateway of its own, with a link for each host and
// nothing else, gives a driver of its own the rights of these links, and ends with it.
func (w *discoverWord) hosts(ctx context.Context, s *screen) (err error) {
	hosts, err := parseHosts(w.Hosts)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "fieldloom-discover-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	links := w.hostLinks(hosts)
	c, err := w.hostConfig(dir, links)
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- gateway.Run(running, gateway.Options{Config: c, Version: version(), Log: newLog(s.err, "text", slog.LevelError), Ready: func() { close(ready) }})
	}()
	defer func() { err = errors.Join(err, <-ended) }()
	defer stop()
	select {
	case <-ready:
	case <-ctx.Done():
		return ctx.Err()
	case err := <-ended:
		ended <- nil
		return err
	}
	api := client.New(c.Socket)
	defer api.Close()
	if err := awaitDriver(ctx, api); err != nil {
		return err
	}
	p := &discoveryBar{s: s, asJSON: w.JSON, began: time.Now()}
	err = w.askHosts(ctx, api, links, p)
	return errors.Join(err, p.end(w.Driver, err))
}

// parseHosts lists the hosts that are named, one by one or as the addresses of a network.
func parseHosts(names []string) ([]string, error) {
	var hosts []string
	for _, name := range names {
		name = strings.TrimSpace(name)
		network, err := netip.ParsePrefix(name)
		switch {
		case err != nil && (name == "" || strings.ContainsAny(name, "/ \t\"'")):
			return nil, &usageError{fmt.Sprintf("--hosts %s: name hosts as 192.0.2.7, or a network as 192.0.2.0/28", name)}
		case err != nil:
			hosts = append(hosts, name)
			continue
		case network.Addr().BitLen()-network.Bits() > 10:
			return nil, tooManyHosts()
		}
		hosts = append(hosts, hostsOf(network.Masked())...)
	}
	if len(hosts) > maxHosts {
		return nil, tooManyHosts()
	}
	return hosts, nil
}

// hostsOf lists the addresses of a network. The first and the last of an IPv4 network are none
// of a host.
func hostsOf(network netip.Prefix) []string {
	var list []string
	for a := network.Addr(); network.Contains(a); a = a.Next() {
		list = append(list, a.String())
	}
	if network.Addr().Is4() && network.Bits() < 31 {
		list = list[1 : len(list)-1]
	}
	return list
}

func tooManyHosts() error {
	return &usageError{fmt.Sprintf("--hosts: these are more than %d hosts: look at fewer at a time", maxHosts)}
}

// A hostLink is a link for the time of the discovery.
type hostLink struct{ name, url string }

func (w *discoverWord) hostLinks(hosts []string) []hostLink {
	links := make([]hostLink, len(hosts))
	for i, host := range hosts {
		at := host
		switch {
		case w.Port > 0:
			at = net.JoinHostPort(host, strconv.Itoa(w.Port))
		case strings.Contains(host, ":"):
			at = "[" + host + "]"
		}
		links[i] = hostLink{name: fmt.Sprintf("host%d", i+1), url: "tcp://" + at}
	}
	return links
}

// hostConfig writes and loads the configuration: of the gateway's own what says which drivers
// may run, and a link for each host.
func (w *discoverWord) hostConfig(dir string, links []hostLink) (*config.Config, error) {
	main := map[string]any{"gateway": "discover", "detach": false, "spool": map[string]any{"max": "1MiB"}}
	own, err := readRules(w.Config)
	if err != nil {
		return nil, err
	}
	for key, value := range own {
		main[key] = value
	}
	timeout := w.Timeout
	if timeout == 0 {
		timeout = hostTimeout
	}
	all := make(map[string]any, len(links))
	for _, l := range links {
		all[l.name] = map[string]any{"driver": w.Driver, "url": l.url, "timeout": timeout.String(), "devices": map[string]any{}}
	}
	main["links"] = all
	text, err := yaml.Marshal(main)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, config.MainFile), text, 0o600)
	}
	if err != nil {
		return nil, err
	}
	return config.Load(dir)
}

// readRules reads what a configuration says of the drivers that may run, with paths that hold
// elsewhere; nothing where there is no configuration.
func readRules(dir string) (map[string]any, error) {
	rules := make(map[string]any)
	var keys struct{ Drivers, Trust, Unsigned, Confine string }
	text, err := os.ReadFile(filepath.Join(dir, config.MainFile))
	if err == nil {
		err = yaml.Unmarshal(text, &keys)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, &usageError{fmt.Sprintf("%s cannot be read: %v", filepath.Join(dir, config.MainFile), err)}
	}
	if keys.Trust == "" {
		if own := filepath.Join(dir, "trust.yaml"); exists(own) {
			keys.Trust = own
		}
	}
	for key, value := range map[string]string{"drivers": keys.Drivers, "trust": keys.Trust} {
		if value != "" {
			rules[key] = below(dir, value)
		}
	}
	for key, value := range map[string]string{"unsigned": keys.Unsigned, "confine": keys.Confine} {
		if value != "" {
			rules[key] = value
		}
	}
	return rules, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// awaitDriver waits until the driver runs, or says why it does not.
func awaitDriver(ctx context.Context, api *client.Client) error {
	ctx, cancel := context.WithTimeout(ctx, driverStart)
	defer cancel()
	why := "it does not start"
	for {
		status, err := api.Status(ctx)
		if err != nil {
			return err
		}
		for i := range status.Drivers {
			d := &status.Drivers[i]
			switch {
			case d.State == "active":
				return nil
			case d.Cause != "":
				why = d.Cause
			case d.Disabled != "":
				why = d.Disabled
			}
			if d.State == "quarantined" || d.State == "stopped" {
				return fmt.Errorf("driver %s: %s", d.Name, why)
			}
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("the driver does not run: %s", why)
		}
	}
}

// askHosts asks some hosts at a time.
func (w *discoverWord) askHosts(ctx context.Context, api *client.Client, links []hostLink, p *discoveryBar) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex // guards p and done
	done := 0
	places := make(chan struct{}, hostsAtOnce)
	var asking sync.WaitGroup
	pace := time.NewTicker(hostEvery)
	defer pace.Stop()
	for _, l := range links {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		asking.Go(func() {
			defer func() { <-places }()
			found, err := w.askHost(ctx, api, l)
			if err != nil {
				cancel(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			done++
			if err := p.take(client.Discovery{Done: done, Of: len(links), Found: found}); err != nil {
				cancel(err)
			}
		})
		select {
		case <-pace.C:
		case <-ctx.Done():
		}
	}
	asking.Wait()
	return context.Cause(ctx)
}

// errEnough ends the discovery of a host after its first candidate.
var errEnough = errors.New("one candidate is enough")

// askHost asks one host: its first candidate, or those within. Nil: nothing takes a connection
// there. The connection is closed afterwards.
func (w *discoverWord) askHost(ctx context.Context, api *client.Client, l hostLink) (*client.Found, error) {
	var texts []string
	name := ""
	err := api.Discover(ctx, client.DiscoverOptions{Link: l.name, Within: w.Within}, func(d client.Discovery) error {
		if d.Found != nil {
			texts = append(texts, strings.TrimSpace(d.Found.Address+" "+d.Found.Value))
			if name == "" {
				name = d.Found.Name
			}
		}
		if w.Within == "" {
			return errEnough
		}
		return nil
	})
	var refused *client.Error
	switch {
	case errors.As(err, &refused) && (refused.Code == "not-connected" || refused.Code == "timeout"):
		return nil, nil
	case err != nil && !errors.Is(err, errEnough):
		return nil, err
	}
	if _, err := api.Offline(ctx, client.LineRequest{Names: []string{l.name}}); err != nil {
		return nil, err
	}
	if len(texts) == 0 {
		texts = []string{"takes a connection; nobody answers at what was asked"}
	}
	return &client.Found{Address: l.url, Name: name, Value: strings.Join(texts, "; ")}, nil
}
