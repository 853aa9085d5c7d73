package record

import (
	"bytes"
	"context"
	"io"
	"sync"
	"time"
)

// A Player answers as the device of a recording did. Its methods may be called concurrently.
type Player struct {
	form Form

	mu      sync.Mutex
	answers map[string][]answer // by request; each is given once, and the last again and again
	asked   map[string]bool
	known   int      // requests of the recording
	unasked []answer // what came before anything was sent, on the first connection
	strays  uint64
	played  uint64
}

// An answer is what came after a request, in its pieces.
type answer struct {
	pieces []piece
}

type piece struct {
	after time.Duration // since the request
	data  []byte
}

// NewPlayer makes a player of a recording.
func NewPlayer(r *Recording) *Player {
	p := &Player{form: r.Form, answers: make(map[string][]answer), asked: make(map[string]bool)}
	open := make(map[int]*exchange) // by connection
	for i := range r.Steps {
		s := &r.Steps[i]
		e := open[s.Conn]
		switch {
		case s.Sent && (e == nil || len(e.answer.pieces) > 0 || e.request == nil):
			p.keep(e)
			open[s.Conn] = &exchange{request: bytes.Clone(s.Data), at: s.At}
		case s.Sent: // the request in pieces
			e.request = append(e.request, s.Data...)
			e.at = s.At
		case e == nil:
			open[s.Conn] = &exchange{at: s.At, answer: answer{[]piece{{0, s.Data}}}}
		default:
			e.answer.pieces = append(e.answer.pieces, piece{s.At - e.at, s.Data})
		}
	}
	for _, e := range open {
		p.keep(e)
	}
	return p
}

// An exchange is a request and what came after it. Without a request it came unasked.
type exchange struct {
	request []byte
	at      time.Duration
	answer  answer
}

func (p *Player) keep(e *exchange) {
	switch {
	case e == nil:
	case e.request == nil:
		p.unasked = append(p.unasked, e.answer)
	default:
		key := p.key(e.request)
		if p.answers[key] == nil {
			p.known++
		}
		p.answers[key] = append(p.answers[key], e.answer)
	}
}

// key is a request without what may differ.
func (p *Player) key(request []byte) string {
	if p.form == MBAP && len(request) > 2 {
		return "\x00\x00" + string(request[2:])
	}
	return string(request)
}

// next takes the answer to a request. ok is false where it was never recorded.
func (p *Player) next(request []byte) (a answer, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := p.key(request)
	list := p.answers[key]
	if len(list) == 0 {
		p.strays++
		return a, false
	}
	p.asked[key] = true
	p.played++
	if len(list) > 1 {
		p.answers[key] = list[1:]
	}
	return list[0], true
}

// Counts are how many requests were answered, how many were not in the recording, and how many
// of the recording's different requests were never made.
func (p *Player) Counts() (played, strays uint64, left int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.played, p.strays, p.known - len(p.asked)
}

// Serve answers on one connection until it ends or ctx does. It does not close it.
func (p *Player) Serve(ctx context.Context, c io.ReadWriter) {
	for _, a := range p.unasked {
		if !a.play(ctx, c, nil) {
			return
		}
	}
	buf := make([]byte, 4096)
	var heard []byte
	for {
		n, err := c.Read(buf)
		heard = append(heard, buf[:n]...)
		for len(heard) > 0 {
			size := p.whole(heard)
			if size == 0 {
				break
			}
			request := heard[:size]
			if a, ok := p.next(request); ok && !a.play(ctx, c, p.stamp(request)) {
				return
			}
			heard = heard[size:]
		}
		if err != nil {
			return
		}
		if len(heard) > maxStep {
			heard = nil
		}
	}
}

// whole is how long the first request of what was heard is; 0: it is not whole yet. Without a
// form it is the longest that was recorded, or else all.
func (p *Player) whole(heard []byte) int {
	if p.form == MBAP {
		if len(heard) < 6 {
			return 0
		}
		if n := 6 + int(heard[4])<<8 + int(heard[5]); n <= len(heard) {
			return n
		}
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	longest, begun := 0, false
	for key := range p.answers {
		switch {
		case len(key) <= len(heard) && key == string(heard[:len(key)]):
			longest = max(longest, len(key))
		case len(key) > len(heard) && key[:len(heard)] == string(heard):
			begun = true
		}
	}
	if longest == 0 && !begun {
		return len(heard)
	}
	return longest
}

// stamp is what the answer takes over of a request.
func (p *Player) stamp(request []byte) []byte {
	if p.form != MBAP || len(request) < 2 {
		return nil
	}
	return request[:2]
}

// play writes an answer with its times, and reports whether it could.
func (a *answer) play(ctx context.Context, w io.Writer, stamp []byte) bool {
	begun := time.Now()
	for i, piece := range a.pieces {
		wait := time.NewTimer(time.Until(begun.Add(piece.after)))
		select {
		case <-ctx.Done():
			wait.Stop()
			return false
		case <-wait.C:
		}
		data := piece.data
		if i == 0 && len(stamp) <= len(data) {
			data = append(bytes.Clone(stamp), data[len(stamp):]...)
		}
		if _, err := w.Write(data); err != nil {
			return false
		}
	}
	return true
}
