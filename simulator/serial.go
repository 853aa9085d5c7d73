package simulator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	longestLine  = 4096                   // of a request; more without an end is thrown away
	busyTimeout  = 500 * time.Millisecond // how long bytes wait for a reader who does not read; then they are lost, as on a wire
	reopenPeriod = 20 * time.Millisecond  // how often a tty that nobody has open is looked at
)

// serialLine is a PTY with instruments on it.
type serialLine struct {
	server    *Server
	line      Line
	exchanges []exchange
	duties    roster
	stray     atomic.Uint64
	opened    atomic.Uint64

	mu     sync.Mutex
	pty    *pseudo // nil while refusing
	closed bool

	sending sync.Mutex // one instrument speaks at a time
	ctx     context.Context
	stop    context.CancelFunc
	done    sync.WaitGroup
}

// exchange is a request that a device answers.
type exchange struct {
	device *Device
	match  *regexp.Regexp
	reply  *template // nil answers nothing
	sets   []int     // by group of match: the point that it sets, or -1
}

func newSerialLine(srv *Server, c *ServerConfig) (*serialLine, error) {
	l := &serialLine{server: srv, line: c.Line}
	if l.line.Baud < 0 {
		return nil, fmt.Errorf("baud rate %d is negative", l.line.Baud)
	}
	if l.line.End == "" {
		l.line.End = "\r\n"
	}
	if l.line.Ends == "" {
		l.line.Ends = "\r\n"
	}
	if err := l.line.check(); err != nil {
		return nil, err
	}
	for i, d := range srv.devices {
		if err := l.add(d, &c.Devices[i]); err != nil {
			return nil, &deviceError{d.name, err}
		}
	}
	return l, nil
}

func (l *serialLine) add(d *Device, c *DeviceConfig) error {
	p, err := newPoints(c.Points)
	if err != nil {
		return err
	}
	d.store = p
	for _, e := range c.Exchange {
		x, err := newExchange(d, p, e)
		if err != nil {
			return err
		}
		l.exchanges = append(l.exchanges, x)
	}
	for _, t := range c.Send {
		text, err := parseTemplate(t.Line, d.name, p)
		if err != nil {
			return err
		}
		if t.Every < minEvery {
			return fmt.Errorf("line %q: a period is at least %v", t.Line, minEvery)
		}
		l.duties = append(l.duties, &duty{device: d, text: text, every: t.Every})
	}
	return nil
}

func newExchange(d *Device, p *points, e Exchange) (exchange, error) {
	if e.Match == "" {
		return exchange{}, errors.New("an exchange needs a match, the pattern of a request")
	}
	match, err := regexp.Compile("^(?:" + e.Match + ")$")
	if err != nil {
		return exchange{}, fmt.Errorf("match %q is no regular expression: %w", e.Match, err)
	}
	x := exchange{device: d, match: match}
	for _, name := range match.SubexpNames() {
		point := -1
		if name != "" {
			i, ok := p.find(name)
			if !ok || !p.list[i].Writable {
				return exchange{}, fmt.Errorf("match %q: the device has no writable point %q", e.Match, name)
			}
			point = i
		}
		x.sets = append(x.sets, point)
	}
	if e.Reply != "" {
		if x.reply, err = parseTemplate(e.Reply, d.name, p); err != nil {
			return exchange{}, err
		}
	}
	return x, nil
}

func (l *serialLine) open() error {
	l.ctx, l.stop = context.WithCancel(context.Background())
	if err := l.admit(); err != nil {
		return err
	}
	l.done.Go(func() { l.duties.run(l.ctx, l.send) })
	return nil
}

func (l *serialLine) addr() string {
	if l.line.Link != "" {
		return l.line.Link
	}
	if p := l.present(); p != nil {
		return p.path
	}
	return ""
}

func (l *serialLine) present() *pseudo {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pty
}

func (l *serialLine) admit() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pty != nil || l.closed {
		return nil
	}
	p, err := openPseudo(l.line.Link)
	if err != nil {
		return err
	}
	l.pty = p
	l.done.Go(func() { l.read(p) })
	return nil
}

// refuse hangs up: who has the tty open reads its end, and there is none to open.
func (l *serialLine) refuse() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pty == nil {
		return nil
	}
	err := l.pty.close()
	l.pty = nil
	return err
}

// cut is a short hang-up. The tty may have another path afterwards, its link has not.
func (l *serialLine) cut() {
	if l.refuse() == nil {
		_ = l.admit()
	}
}

func (l *serialLine) close() error {
	if l.stop != nil {
		l.stop()
	}
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	err := l.refuse()
	l.done.Wait()
	return err
}

func (l *serialLine) counts(c *ServerCounts) {
	c.Connections, c.Stray = l.opened.Load(), l.stray.Load()
	if p := l.present(); p != nil && p.isOpen() {
		c.Open = 1
	}
}

// read takes lines from the tty and has them answered, until the tty is closed.
func (l *serialLine) read(p *pseudo) {
	buf := make([]byte, 0, longestLine)
	chunk := make([]byte, 512)
	open := false
	for {
		n, err := p.master.Read(chunk)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil {
			// Nobody has the tty open. What a client left half written is gone with it.
			open, buf = false, buf[:0]
			if !pause(l.ctx, reopenPeriod) {
				return
			}
			continue
		}
		if !open {
			open = true
			l.opened.Add(1)
		}
		buf = l.lines(append(buf, chunk[:n]...))
	}
}

// lines has each whole line in buf answered, and returns the rest.
func (l *serialLine) lines(buf []byte) []byte {
	rest := buf
	for {
		end := bytes.IndexAny(rest, l.line.Ends)
		if end < 0 {
			break
		}
		if end > 0 {
			l.answer(rest[:end])
		}
		rest = rest[end+1:]
	}
	if len(rest) > longestLine {
		l.stray.Add(1)
		rest = nil
	}
	return append(buf[:0], rest...)
}

// answer finds the first exchange that matches.
func (l *serialLine) answer(heard []byte) {
	asked := time.Now()
	request := string(heard)
	if l.line.Bytes {
		request = wide(heard)
	}
	for i := range l.exchanges {
		x := &l.exchanges[i]
		groups := x.match.FindStringSubmatch(request)
		if groups == nil {
			continue
		}
		if x.accept(groups, len(request)+1, asked) && x.reply != nil {
			l.reply(&duty{device: x.device, text: x.reply}, heard, asked)
		}
		return
	}
	l.stray.Add(1)
}

// reply answers a request, under the device's fault.
func (l *serialLine) reply(d *duty, heard []byte, asked time.Time) {
	f := d.device.current()
	switch {
	case f == nil:
	case f.Kind == Late:
		l.done.Go(func() {
			if pause(l.ctx, f.Delay) {
				l.say(d, asked, true)
			}
		})
		return
	case f.Kind == Echo:
		l.raw(append(slices.Clone(heard), l.line.Ends[0]))
	}
	l.say(d, asked, true)
}

// accept counts a request and executes the writes in it. It returns false when the device keeps
// silent, or could not take a value.
func (x *exchange) accept(groups []string, size int, now time.Time) bool {
	d := x.device
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tally.requests++
	d.tally.bytesIn += uint64(size)
	if f := d.current(); f != nil && f.Kind == Silent {
		return false
	}
	p := d.store.(*points)
	for i, point := range x.sets {
		if point < 0 {
			continue
		}
		v, err := p.write(point, groups[i], d.moment())
		if err != nil {
			return false
		}
		d.tally.wrote(Write{Time: now, Point: p.list[point].Name, Value: v.Any()})
	}
	return true
}

// send sends a line that nobody asked for, unless nobody would hear it: then there is no
// message, and its slot value is not used.
func (l *serialLine) send(d *duty) {
	p := l.present()
	if p == nil || !l.line.Alone && !p.isOpen() {
		return
	}
	if f := d.device.current(); f != nil && f.Kind == Silent {
		return
	}
	l.say(d, time.Now(), false)
}
