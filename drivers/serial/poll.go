package serial

import (
	"context"

	"github.com/fieldloom/fieldloom/core/driver"
)

// plan is a set of points by the requests that they come from.
type plan struct {
	link  *link
	steps []*step
	mute  []int // places of points that can't be read
}

// step is one request, and the points that take fields of its answer.
type step struct {
	*request
	content string
	points  []*compiled
	places  []int // of the points, in out
}

// Prepare compiles the points of a scan class.
func (d polled) Prepare(points []driver.Point) (driver.Reader, error) { return d.plan(points), nil }

// Read asks for points, each request once.
func (d polled) Read(ctx context.Context, points []driver.Point, out []driver.Sample) error {
	return d.plan(points).Read(ctx, points, out)
}

func (d polled) plan(points []driver.Point) *plan {
	p := &plan{link: d.link}
	steps := make(map[*request]*step)
	for i, point := range points {
		c := d.points[point.Index]
		if c.source == nil {
			p.mute = append(p.mute, i)
			continue
		}
		s := steps[c.source]
		if s == nil {
			content, _ := c.source.send.render(driver.Value{}, 0) // without {value} it can't fail
			s = &step{request: c.source, content: content}
			steps[c.source] = s
			p.steps = append(p.steps, s)
		}
		s.points, s.places = append(s.points, c), append(s.places, i)
	}
	return p
}

// Read makes the plan's requests, those that were silent the last time after the others.
func (p *plan) Read(ctx context.Context, _ []driver.Point, out []driver.Sample) error {
	for _, i := range p.mute {
		out[i] = driver.Faulted(driver.Errorf(driver.Unsupported, "the point can only be written"))
	}
	order := make([]*step, 0, len(p.steps))
	for _, silent := range []bool{false, true} {
		for _, s := range p.steps {
			if s.silent == silent {
				order = append(order, s)
			}
		}
	}
	answered := false
	for _, s := range order {
		err := s.read(ctx, p.link, out)
		switch driver.CodeOf(err) {
		case driver.OK, driver.Denied:
			answered = true
		case driver.Timeout, driver.Protocol:
			if !answered || ctx.Err() != nil {
				return err
			}
		default:
			return err
		}
	}
	return nil
}

// read makes one request. Its error is in the samples of its points too.
func (s *step) read(ctx context.Context, l *link, out []driver.Sample) error {
	fields, err := l.ask(ctx, s.content, s.request)
	code := driver.CodeOf(err)
	s.silent = code == driver.Timeout || code == driver.Protocol
	for i, place := range s.places {
		point := s.points[i]
		switch {
		case err != nil:
			out[place] = driver.Faulted(driver.AsError(err))
		case point.binary != nil:
			out[place] = point.binary.sample(fields[0])
		case point.field >= len(fields):
			out[place] = driver.Faulted(driver.Errorf(driver.Protocol, "answer %s has no column %d", excerpt(fields[0]), point.field))
		default:
			out[place] = point.kind.sample(fields[point.field])
		}
	}
	return err
}
