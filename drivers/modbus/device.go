package modbus

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/goburrow/modbus"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/engine/planner"
)

// A device is one unit.
type device struct {
	name     string
	line     *line
	settings deviceSettings
	packager modbus.Packager
	owns     []*own    // by driver.Point.Index; nil: of none
	points   []Address // by driver.Point.Index; no DefaultOrder among them

	modify sync.Mutex // held from reading a register to writing it back
}

const (
	// isolateBudget is about the extra requests of one poll for isolating illegal
	// addresses: enough for one among the most registers of a request.
	isolateBudget = 16
	// illegalRetry is how long an illegal address is left alone. A device that
	// gained it, by a new firmware say, shows within that time.
	illegalRetry = time.Minute
)

// Prepare compiles a poll of points.
func (d *device) Prepare(points []driver.Point) (driver.Reader, error) {
	return d.prepare(points, isolateBudget, illegalRetry)
}

// Read reads points once, without what was learned in polls: fresh is fresh.
func (d *device) Read(ctx context.Context, points []driver.Point, out []driver.Sample) error {
	r, err := d.prepare(points, 0, 0)
	if err != nil {
		return err
	}
	return r.Read(ctx, points, out)
}

// broadcast reports whether the device is all units of a bus, none of which answers.
func (d *device) broadcast() bool { return d.settings.broadcast(d.line.framing.serial()) }

func (d *device) prepare(points []driver.Point, budget int, retry time.Duration) (driver.Reader, error) {
	for _, p := range points {
		if p.Index >= 0 && p.Index < len(d.owns) && d.owns[p.Index] != nil {
			return d.mixed(points, budget, retry)
		}
	}
	return d.prepareRegisters(points, budget, retry)
}

func (d *device) prepareRegisters(points []driver.Point, budget int, retry time.Duration) (*reader, error) {
	r := &reader{device: d, caller: newCaller(), points: make([]Address, len(points))}
	spans := make([]planner.Span, len(points))
	for i, p := range points {
		if p.Index < 0 || p.Index >= len(d.points) {
			return nil, driver.Errorf(driver.Internal, "modbus: unit %d: there is no point %d of %d", d.settings.Unit, p.Index, len(d.points))
		}
		a := d.points[p.Index]
		r.points[i] = a
		spans[i] = planner.Span{Table: uint8(a.Table), Start: uint32(a.Start), Count: uint32(a.items())}
	}
	plan, err := planner.New(spans, planner.Options{Limits: d.limits(), Blocks: d.settings.plan, Budget: budget, Retry: retry})
	if err != nil {
		return nil, driver.Errorf(driver.Internal, "modbus: unit %d: plan: %w", d.settings.Unit, err)
	}
	r.plan = plan
	return r, nil
}

func (d *device) limits() []planner.Limits {
	registers := planner.Limits{Max: uint32(d.settings.MaxBlock), Gap: uint32(d.settings.Gap)}
	bits := planner.Limits{
		Max: min(maxReadBits, bitsPerRegister*registers.Max),
		Gap: bitsPerRegister * registers.Gap,
	}
	return []planner.Limits{Coil: bits, Discrete: bits, Input: registers, Holding: registers}
}

// open takes the answer to a request out of its frame: its data, or the code of
// the exception (clause 7) that it is.
func (d *device) open(adu, answer []byte) (data []byte, code byte, err error) {
	if err := d.line.framing.check(adu, answer); err != nil {
		return nil, 0, err
	}
	if err := d.packager.Verify(adu, answer); err != nil {
		return nil, 0, malformed(err)
	}
	pdu, err := d.packager.Decode(answer)
	if err != nil {
		return nil, 0, malformed(err)
	}
	if pdu.FunctionCode&exceptionBit != 0 {
		return nil, pdu.Data[0], nil
	}
	return pdu.Data, 0, nil
}

// malformed is the fault for what goburrow found wrong in an answer.
func malformed(err error) *driver.Error {
	return driver.Errorf(driver.Protocol, "%s", strings.TrimPrefix(err.Error(), "modbus: "))
}

// failed adds to err what was asked of which unit. The code stays.
func (d *device) failed(err error, format string, args ...any) *driver.Error {
	e := driver.AsError(err)
	return &driver.Error{
		Code:  e.Code,
		Text:  fmt.Sprintf("modbus: unit %d: %s: %s", d.settings.Unit, fmt.Sprintf(format, args...), e.Text),
		After: e.After,
		Err:   err,
	}
}
