package host

import (
	"context"
	"log/slog"
	"math"
	"slices"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/internal/wire"
	driverv1 "github.com/fieldloom/fieldloom/proto/driver/v1"
)

// Describe asks the driver what it is.
func (p *Process) Describe(ctx context.Context) (control.Description, error) {
	r, err := call(ctx, p, "describe", p.rpc.Describe, &driverv1.DescribeRequest{})
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
func (p *Process) Validate(ctx context.Context, s *control.State) (faults []control.ConfigFault, err error) {
	for part := range slices.Chunk(s.Links, stepLinks) {
		r, err := call(ctx, p, "validate", p.rpc.Validate,
			&driverv1.ValidateRequest{State: wire.EncodeState(&control.State{Revision: s.Revision, Links: part})})
		if err != nil {
			return nil, err
		}
		faults = append(faults, wire.DecodeConfigFaults(r.GetFaults())...)
	}
	return faults, nil
}

// Apply sets the driver's desired state.
func (p *Process) Apply(ctx context.Context, s *control.State, o control.ApplyOptions) ([]control.ConfigFault, error) {
	if err := p.mustKnowLinks("hold", o.Hold); err != nil {
		return nil, err
	}
	if o.Part && !slices.Contains(p.described.Abilities, abilityParts) {
		return nil, driver.Errorf(driver.Unsupported, "apply a part: driver %s %s takes its whole state at once", p.command.Name, p.described.Version)
	}
	r, err := call(ctx, p, "apply", p.rpc.Apply, &driverv1.ApplyRequest{
		State: wire.EncodeState(p.known(s)), Standby: o.Standby, HandOff: o.HandOff, Hold: o.Hold, Part: o.Part, Remove: o.Remove,
	})
	return wire.DecodeConfigFaults(r.GetFaults()), err
}

// Status asks for all conditions and counters, some hundred links at a time. Where ctx
// has no deadline, each step has one.
func (p *Process) Status(ctx context.Context) (*control.Status, error) {
	whole := new(control.Status)
	for range maxPages {
		r, err := call(ctx, p, "status", p.rpc.Status, &driverv1.StatusRequest{First: uint32(len(whole.Links)), Limit: stepLinks})
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
	return nil, driver.Errorf(driver.Internal, "status: driver %s tells more than %d links", p.command.Name, maxPages*stepLinks)
}

// Read reads points of one device. Its error says, as that of Write, whether the device may
// have been asked.
func (p *Process) Read(ctx context.Context, link, device string, points []string) ([]control.NamedSample, error) {
	r := new(driverv1.ReadResponse)
	request := &driverv1.ReadRequest{Link: link, Device: device, Points: points}
	if err := once(ctx, p, "read", driverv1.DriverService_Read_FullMethodName, request, r); err != nil {
		return nil, err
	}
	return wire.DecodeSamples(r.GetSamples()), nil
}

// Values returns what the driver knows of a device's points without asking it.
func (p *Process) Values(ctx context.Context, link, device string, first int) (values []control.LastValue, next int, err error) {
	if !slices.Contains(p.described.Abilities, abilityValues) {
		return nil, 0, driver.Errorf(driver.Unsupported, "driver %s %s does not tell last values", p.command.Name, p.described.Version)
	}
	r, err := call(ctx, p, "values", p.rpc.Values, &driverv1.ValuesRequest{Link: link, Device: device, First: uint32(first)})
	if err != nil {
		return nil, 0, err
	}
	return wire.DecodeLastValues(r.GetValues()), int(r.GetNext()), nil
}

// Write writes one point. driver.MayBeDone of its error reports whether the value may be in
// the device.
func (p *Process) Write(ctx context.Context, link, device, point string, v driver.Value) error {
	request := &driverv1.WriteRequest{Link: link, Device: device, Point: point, Value: wire.EncodeValue(v)}
	return once(ctx, p, "write", driverv1.DriverService_Write_FullMethodName, request, new(driverv1.WriteResponse))
}

// Browse lists addresses of a device.
func (p *Process) Browse(ctx context.Context, link, device, prefix string, limit int) ([]driver.Entry, error) {
	r, err := call(ctx, p, "browse", p.rpc.Browse,
		&driverv1.BrowseRequest{Link: link, Device: device, Prefix: prefix, Limit: uint32(min(max(0, limit), math.MaxInt32))})
	if err != nil {
		return nil, err
	}
	if n := len(r.GetEntries()); limit > 0 && n > limit {
		return nil, driver.Errorf(driver.Protocol, "the driver answered %d entries, %d were asked for at most", n, limit)
	}
	entries := make([]driver.Entry, len(r.GetEntries()))
	for i, e := range r.GetEntries() {
		entries[i] = driver.Entry{
			Address: e.GetAddress(), Name: e.GetName(), Kind: wire.DecodeKind(e.GetKind()), Writable: e.GetWritable(),
		}
	}
	return entries, nil
}

// Drain finishes what is in flight of the links and closes them.
func (p *Process) Drain(ctx context.Context, links []string) (control.Drained, error) {
	if err := p.mustKnowLinks("drain", links); err != nil {
		return control.Drained{}, err
	}
	r, err := call(ctx, p, "drain", p.rpc.Drain, &driverv1.DrainRequest{Links: links})
	return control.Drained{LastSequence: r.GetLastSequence(), HandOff: r.GetHandOff()}, err
}

// Activate opens links of a state applied in standby, held or drained.
func (p *Process) Activate(ctx context.Context, links []string, o control.ActivateOptions) error {
	if err := p.mustKnowLinks("activate", links); err != nil {
		return err
	}
	r := &driverv1.ActivateRequest{Links: links, HandOff: o.HandOff}
	if !o.Since.IsZero() {
		r.Since = o.Since.UnixNano()
	}
	_, err := call(ctx, p, "activate", p.rpc.Activate, r)
	return err
}

// Check proves that a link or a device that is off line works. The error is Unsupported
// where the driver cannot: it takes all of its links or none, so that it was not given
// what is off line.
func (p *Process) Check(ctx context.Context, link, device string) error {
	if !p.knowsLinks() {
		return driver.Errorf(driver.Unsupported, "driver %s %s cannot check what is off line", p.command.Name, p.described.Version)
	}
	_, err := call(ctx, p, "check", p.rpc.Check, &driverv1.CheckRequest{Link: link, Device: device})
	return err
}

// SetLevel sets the lowest level of the lines that the driver writes, from now on.
func (p *Process) SetLevel(ctx context.Context, level slog.Level) error {
	_, err := call(ctx, p, "set log level", p.rpc.SetLog, &driverv1.SetLogRequest{Level: int32(level)})
	return err
}

// mustKnowLinks refuses what a driver that does not know it would do to all its links.
func (p *Process) mustKnowLinks(what string, links []string) error {
	if len(links) == 0 || p.knowsLinks() {
		return nil
	}
	return driver.Errorf(driver.Unsupported, "%s single links: driver %s %s takes all of its links or none: update it",
		what, p.command.Name, p.described.Version)
}

func (p *Process) knowsLinks() bool { return slices.Contains(p.described.Abilities, abilityLinks) }

const (
	// abilityLinks is what a driver announces that takes its links one by one,
	// abilityParts that its state may come in parts, and abilityValues that it answers
	// Values.
	abilityLinks  = "links"
	abilityParts  = "parts"
	abilityValues = "values"
)

// known is the state without what is off line, for a driver that would not
// know that it is.
func (p *Process) known(s *control.State) *control.State {
	if p.knowsLinks() {
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
