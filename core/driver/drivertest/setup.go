package drivertest

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// An Ability is something that a driver may lack, or that its peer cannot show.
type Ability string

// The abilities. Those of the first group are optional interfaces.
const (
	Check     Ability = "check"     // driver.Checker
	Read      Ability = "read"      // driver.Reader
	Prepare   Ability = "prepare"   // driver.Preparer
	Subscribe Ability = "subscribe" // driver.Subscriber
	Write     Ability = "write"     // driver.Writer
	Browse    Ability = "browse"    // driver.Browser
	Discover  Ability = "discover"  // driver.Discoverer
	Pipeline  Ability = "pipeline"  // driver.Pipeliner
	Keep      Ability = "keep"      // driver.Keeper

	Settings Ability = "settings" // a link has settings that can be wrong: Setup.BadLinks
	Address  Ability = "address"  // an address can be wrong: Setup.BadDevice
	Missing  Ability = "missing"  // the peer tells when a point is not there: Setup.Missing
	Refusal  Ability = "refusal"  // a value can be wrong for a point: Setup.BadWrite
	Silence  Ability = "silence"  // a device can be silent: Setup.Silent
)

// A Setup is a driver and what it is tried on. Every field belongs to an ability:
// it is set, or the ability is in Lacks, or the kit fails.
type Setup struct {
	Driver driver.Driver
	Lacks  []Ability

	// Link opens, and Device is a device on it all of whose points can be read (or are pushed).
	Link   driver.LinkConfig
	Device driver.DeviceConfig

	BadLinks  []json.RawMessage   // settings that Open refuses with InvalidConfig
	BadDevice driver.DeviceConfig // at least two of its addresses are wrong
	Missing   driver.Point        // an address that is right and a point that is not there
	Writes    []WriteCase         // each is written, and read back where the device is a Reader
	BadWrite  WriteCase           // is refused with BadValue
	// Silent is a device, on a link of its own or the same, that never answers.
	Silent     driver.DeviceConfig
	SilentLink driver.LinkConfig // zero: Link

	// Push makes the peer send at least one sample of Device. It is called while
	// the device is subscribed to, again and again until a sample arrived.
	Push func(t testing.TB)
	// Browsed is an address that Browse lists below BrowsedBelow, or in all it has where that is
	// empty.
	Browsed, BrowsedBelow string
	// Found is where Discover finds somebody: the address of its entry, which is the last of those
	// within FoundWithin, with two candidates at least.
	Found, FoundWithin string
}

// A WriteCase is a value for one of the device's points.
type WriteCase struct {
	Point string
	Value driver.Value
}

func (s *Setup) lacks(a Ability) bool { return slices.Contains(s.Lacks, a) }

// complete fails for every ability that is neither declared to be lacking nor given
// what it is tried with.
func (s *Setup) complete(t *testing.T) {
	t.Helper()
	for _, need := range []struct {
		ability Ability
		given   bool
		field   string
	}{
		{Settings, len(s.BadLinks) > 0, "BadLinks"},
		{Address, len(s.BadDevice.Points) > 1, "BadDevice with two wrong addresses"},
		{Missing, s.Missing.Address != "", "Missing"},
		{Write, len(s.Writes) > 0, "Writes"},
		{Refusal, s.BadWrite.Point != "", "BadWrite"},
		{Silence, s.Silent.Name != "", "Silent"},
		{Subscribe, s.Push != nil, "Push"},
		{Browse, s.Browsed != "", "Browsed"},
		{Discover, s.Found != "", "Found"},
	} {
		if need.given == s.lacks(need.ability) {
			t.Errorf("ability %q: give Setup.%s or declare it in Setup.Lacks, and not both", need.ability, need.field)
		}
	}
	if len(s.Device.Points) == 0 {
		t.Error("Setup.Device has no points")
	}
	if t.Failed() {
		t.FailNow()
	}
}

// index numbers the points of a device, as the engine does, and fills in time-outs.
func (s *Setup) index() {
	for _, d := range []*driver.DeviceConfig{&s.Device, &s.BadDevice, &s.Silent} {
		d.Points = slices.Clone(d.Points)
		for i := range d.Points {
			d.Points[i].Index = i
		}
	}
	if s.SilentLink.Name == "" {
		s.SilentLink = s.Link
	}
	for _, l := range []*driver.LinkConfig{&s.Link, &s.SilentLink} {
		if l.Timeout == 0 {
			l.Timeout = time.Second
		}
	}
}
