package host

import (
	"context"
	"log/slog"
	"math"
	"slices"
	"sync/atomic"

	"google.golang.org/grpc"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/internal/wire"
	driverv1 "github.com/fieldloom/fieldloom/proto/driver/v1"
)

// calls are the unary calls to a driver process: it implements control.Plane. Every call has
// a deadline, and fails with ErrExited in its tree when the process is dead.
type calls struct {
	name      string // of the driver
	pid       int
	conn      *grpc.ClientConn
	rpc       driverv1.DriverServiceClient
	life      *life
	described control.Description // once Describe has answered; set before the others are called

	deeds    deeds
	stopping atomic.Bool // the process was asked to exit
}

var _ control.Plane = (*calls)(nil)

// Describe asks the driver what it is.
func (c *calls) Describe(ctx context.Context) (control.Description, error) {
	r, err := call(ctx, c, "describe", c.rpc.Describe, &driverv1.DescribeRequest{})
	return wire.DecodeDescription(r), err
}

const (
	// stepLinks is how many links one call is about, of those that can be about some at a
	// time: so that its time and its messages do not grow with the plant.
	stepLinks = 500
	// maxPages bounds the answers to one Status: a driver may tell any number of links.
	maxPages = 1000
)

// Validate has the driver check a state, some hundred links at a time. Where ctx has no
// deadline, each step has one.
func (c *calls) Validate(ctx context.Context, s *control.State) (faults []*driver.ConfigError, err error) {
	for part := range slices.Chunk(s.Links, stepLinks) {
		r, err := call(ctx, c, "validate", c.rpc.Validate,
			&driverv1.ValidateRequest{State: wire.EncodeState(&control.State{Revision: s.Revision, Links: part})})
		if err != nil {
			return nil, err
		}
		faults = append(faults, wire.DecodeConfigErrors(r.GetFaults())...)
	}
	return faults, nil
}

// Apply sets the driver's desired state.
func (c *calls) Apply(ctx context.Context, s *control.State, o control.ApplyOptions) ([]*driver.ConfigError, error) {
	if err := c.mustKnowLinks("hold", o.Hold); err != nil {
		return nil, err
	}
	if o.Part && !slices.Contains(c.described.Abilities, abilityParts) {
		return nil, driver.Errorf(driver.Unsupported, "apply a part: driver %s %s takes its whole state at once", c.name, c.described.Version)
	}
	r, err := call(ctx, c, "apply", c.rpc.Apply, &driverv1.ApplyRequest{
		State: wire.EncodeState(c.known(s)), Standby: o.Standby, HandOff: o.HandOff, Hold: o.Hold, Part: o.Part, Remove: o.Remove,
	})
	return wire.DecodeConfigErrors(r.GetFaults()), err
}

// Status asks for all conditions and counters, some hundred links at a time. Where ctx
// has no deadline, each step has one.
func (c *calls) Status(ctx context.Context) (*control.Status, error) {
	whole := new(control.Status)
	for range maxPages {
		r, err := call(ctx, c, "status", c.rpc.Status, &driverv1.StatusRequest{First: uint32(len(whole.Links)), Limit: stepLinks})
		if err != nil {
			return nil, err
		}
		page := wire.DecodeStatus(r)
		whole.Ring = page.Ring
		whole.Links = append(whole.Links, page.Links...)
		whole.Meters = append(whole.Meters, page.Meters...)
		if len(whole.Links) >= int(r.GetTotal()) || len(page.Links) == 0 {
			return whole, nil
		}
	}
	return nil, driver.Errorf(driver.Internal, "status: driver %s tells more than %d links", c.name, maxPages*stepLinks)
}

// Read reads points of one device. Its error says, as that of Write, whether the device may
// have been asked.
func (c *calls) Read(ctx context.Context, link, device string, points []string) ([]control.NamedSample, error) {
	r := new(driverv1.ReadResponse)
	request := &driverv1.ReadRequest{Link: link, Device: device, Points: points}
	if err := once(ctx, c, "read", driverv1.DriverService_Read_FullMethodName, request, r); err != nil {
		return nil, err
	}
	return wire.DecodeSamples(r.GetSamples()), nil
}

// Values returns what the driver knows of a device's points without asking it.
func (c *calls) Values(ctx context.Context, link, device string, first int) (values []control.LastValue, next int, err error) {
	if !slices.Contains(c.described.Abilities, abilityValues) {
		return nil, 0, driver.Errorf(driver.Unsupported, "driver %s %s does not tell last values", c.name, c.described.Version)
	}
	r, err := call(ctx, c, "values", c.rpc.Values, &driverv1.ValuesRequest{Link: link, Device: device, First: uint32(first)})
	if err != nil {
		return nil, 0, err
	}
	return wire.DecodeLastValues(r.GetValues()), int(r.GetNext()), nil
}

// Write writes one point. driver.MayBeDone of its error reports whether the value may be in
// the device.
func (c *calls) Write(ctx context.Context, link, device, point string, v driver.Value) error {
	request := &driverv1.WriteRequest{Link: link, Device: device, Point: point, Value: wire.EncodeValue(v)}
	return once(ctx, c, "write", driverv1.DriverService_Write_FullMethodName, request, new(driverv1.WriteResponse))
}

// Discover asks one candidate of a link. The error is Unsupported where the driver is built with
// a core/plugin that does not know it.
func (c *calls) Discover(ctx context.Context, link string, candidate driver.Candidate) (*driver.Entry, int, error) {
	if !slices.Contains(c.described.Abilities, abilityDiscover) {
		return nil, 0, driver.Errorf(driver.Unsupported, "driver %s %s cannot look for devices", c.name, c.described.Version)
	}
	r := new(driverv1.DiscoverResponse)
	request := &driverv1.DiscoverRequest{Link: link, Candidate: uint32(max(0, candidate.Number)), Within: candidate.Within,
		PatienceNs: int64(candidate.Patience), Identify: candidate.Identify}
	if err := once(ctx, c, "discover", driverv1.DriverService_Discover_FullMethodName, request, r); err != nil {
		return nil, 0, err
	}
	if n := r.GetCandidates(); n > driver.MaxCandidates {
		return nil, 0, driver.Errorf(driver.Protocol, "driver %s answered that there are %d candidates: at most %d are allowed", c.name, n, driver.MaxCandidates)
	}
	if r.GetFound() == nil {
		return nil, int(r.GetCandidates()), nil
	}
	found := wire.DecodeEntry(r.GetFound())
	return &found, int(r.GetCandidates()), nil
}

// Browse lists addresses of a device.
func (c *calls) Browse(ctx context.Context, link, device, prefix string, limit int) ([]driver.Entry, error) {
	r, err := call(ctx, c, "browse", c.rpc.Browse,
		&driverv1.BrowseRequest{Link: link, Device: device, Prefix: prefix, Limit: uint32(min(max(0, limit), math.MaxInt32))})
	if err != nil {
		return nil, err
	}
	if n := len(r.GetEntries()); limit > 0 && n > limit {
		return nil, driver.Errorf(driver.Protocol, "the driver answered %d entries, %d were asked for at most", n, limit)
	}
	entries := make([]driver.Entry, len(r.GetEntries()))
	for i, e := range r.GetEntries() {
		entries[i] = wire.DecodeEntry(e)
	}
	return entries, nil
}

// Drain finishes what is in flight of the links and closes them.
func (c *calls) Drain(ctx context.Context, links []string) (control.Drained, error) {
	if err := c.mustKnowLinks("drain", links); err != nil {
		return control.Drained{}, err
	}
	r, err := call(ctx, c, "drain", c.rpc.Drain, &driverv1.DrainRequest{Links: links})
	return control.Drained{LastSequence: r.GetLastSequence(), HandOff: r.GetHandOff()}, err
}

// Activate opens links of a state applied in standby, held or drained.
func (c *calls) Activate(ctx context.Context, links []string, o control.ActivateOptions) error {
	if err := c.mustKnowLinks("activate", links); err != nil {
		return err
	}
	r := &driverv1.ActivateRequest{Links: links, HandOff: o.HandOff}
	if !o.Since.IsZero() {
		r.Since = o.Since.UnixNano()
	}
	_, err := call(ctx, c, "activate", c.rpc.Activate, r)
	return err
}

// Check proves that a link or a device that is off line works. The error is Unsupported
// where the driver cannot: it takes all of its links or none, so that it was not given
// what is off line.
func (c *calls) Check(ctx context.Context, link, device string) error {
	if !c.knowsLinks() {
		return driver.Errorf(driver.Unsupported, "driver %s %s cannot check what is off line", c.name, c.described.Version)
	}
	_, err := call(ctx, c, "check", c.rpc.Check, &driverv1.CheckRequest{Link: link, Device: device})
	return err
}

// SetLevel sets the lowest level of the lines that the driver writes, from now on.
func (c *calls) SetLevel(ctx context.Context, level slog.Level) error {
	_, err := call(ctx, c, "set log level", c.rpc.SetLog, &driverv1.SetLogRequest{Level: int32(level)})
	return err
}

// mustKnowLinks refuses what a driver that does not know it would do to all its links.
func (c *calls) mustKnowLinks(what string, links []string) error {
	if len(links) == 0 || c.knowsLinks() {
		return nil
	}
	return driver.Errorf(driver.Unsupported, "%s single links: driver %s %s takes all of its links or none: update it",
		what, c.name, c.described.Version)
}

func (c *calls) knowsLinks() bool { return slices.Contains(c.described.Abilities, abilityLinks) }

const (
	// abilityLinks is what a driver announces that takes its links one by one, abilityParts
	// that its state may come in parts, abilityValues that it answers Values, and
	// abilityDiscover that it answers Discover.
	abilityLinks    = "links"
	abilityParts    = "parts"
	abilityValues   = "values"
	abilityDiscover = "discover"
)

// known is the state without what is off line, for a driver that would not know that it is.
func (c *calls) known(s *control.State) *control.State {
	if c.knowsLinks() {
		return s
	}
	less := &control.State{Revision: s.Revision}
	for _, l := range s.Links {
		if l.Offline {
			continue
		}
		if slices.ContainsFunc(l.Devices, func(d control.Device) bool { return d.Offline }) {
			l.Devices = slices.DeleteFunc(slices.Clone(l.Devices), func(d control.Device) bool { return d.Offline })
		}
		less.Links = append(less.Links, l)
	}
	return less
}
