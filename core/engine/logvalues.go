package engine

import (
	"strconv"

	"github.com/fieldloom/fieldloom/core/driver"
)

const (
	maxLogged      = 200 // values in one line
	maxLoggedBytes = 64  // of a value that is a string or bytes
)

// logValues logs at level debug what a read gave, as the driver gave it: neither scaled nor
// held back by a deadband. Without the level it costs one comparison.
func (r *runner) logValues(err error) {
	if !driver.Debugs(r.l.log) {
		return
	}
	if err != nil {
		r.l.log.Debug("values", "device", r.deviceName(), "call", r.job.name(), "points", len(r.points), "err", err)
		return
	}
	var b []byte
	for i := range r.points[:min(len(r.points), maxLogged)] {
		b = appendLogged(b, r.points[i].Name, &r.samples[i])
	}
	r.l.log.Debug("values", "device", r.deviceName(), "call", r.job.name(), "points", len(r.points), "values", string(b))
}

// logPushed logs at level debug what a device sent by itself.
func (sub *subscription) logPushed(samples []driver.PointSample) {
	if !driver.Debugs(sub.l.log) {
		return
	}
	var b []byte
	for i := range samples[:min(len(samples), maxLogged)] {
		if s := &samples[i]; s.Point >= 0 && s.Point < len(sub.d.table.points) {
			b = appendLogged(b, sub.d.table.points[s.Point].Name, &s.Sample)
		}
	}
	sub.l.log.Debug("values", "device", sub.d.spec.Name, "call", "Subscribe", "points", len(samples), "values", string(b))
}

func appendLogged(b []byte, name string, s *driver.Sample) []byte {
	if len(b) > 0 {
		b = append(b, ' ')
	}
	b = append(append(b, name...), '=')
	switch {
	case s.Fault != nil:
		b = append(b, '!')
		b = append(b, s.Fault.Code.String()...)
	case s.Value.Kind() >= driver.KindString:
		text := s.Value.Str() + string(s.Value.Bytes())
		b = strconv.AppendQuote(b, text[:min(len(text), maxLoggedBytes)])
	default:
		b = append(b, s.Value.String()...)
	}
	return b
}
