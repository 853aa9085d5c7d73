// Package inforce has the configuration in force.
//
// A Config is a configuration with what was made of it when it was put in force. It does
// not change; the next one takes its place. Current says which one it is: whoever serves
// reads it there, without a lock and as a whole.
package inforce

import (
	"sync/atomic"
	"time"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

// A Config is a configuration in force. It is read only.
type Config struct {
	*config.Config
	States   map[string]*control.State // by driver
	Unready  map[string]error          // drivers that could not check their part
	Revision uint64
	Loaded   time.Time
	Aside    []string  // what became of the link files that are wrong
	Wrong    []string  // what is wrong with them
	Good     time.Time // since when it is the last good configuration; zero: it is that of the files
}

// Known refuses the name of a driver that no link uses.
func (c *Config) Known(driverName string) error {
	if c.States[driverName] == nil {
		return driver.Errorf(driver.NotFound, "driver %s does not run: no link uses it", driverName)
	}
	return nil
}

// Current is the configuration in force, and the one that is being checked.
type Current struct {
	now    atomic.Pointer[Config]
	vetted atomic.Pointer[config.Config] // nil: none
}

// NewCurrent begins with a configuration that no driver has checked yet.
func NewCurrent(c *config.Config, now time.Time) *Current {
	n := new(Current)
	n.Set(&Config{Config: c, Loaded: now})
	return n
}

// Get returns the configuration in force.
func (n *Current) Get() *Config { return n.now.Load() }

// Set puts c in force.
func (n *Current) Set(c *Config) { n.now.Store(c) }

// Vet notes that c is being checked; nil: that none is any more.
func (n *Current) Vet(c *config.Config) { n.vetted.Store(c) }

// All returns the configuration in force, and the one that is being checked, if one is.
func (n *Current) All() []*config.Config {
	list := []*config.Config{n.Get().Config}
	if v := n.vetted.Load(); v != nil {
		list = append(list, v)
	}
	return list
}

// Detaches reports whether the processes of a driver outlive the gateway, by the newest
// configuration that there is: the one that is being checked starts drivers too.
func (n *Current) Detaches(driverName string) bool {
	list := n.All()
	return list[len(list)-1].Process(driverName).Detach
}
