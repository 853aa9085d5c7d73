package modbus

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/carrier"
)

// A wire carries the requests of many callers over one connection. It gives every
// request a transaction id of its own and at most window of them are in flight.
//
// It has no goroutine. A caller that waits for an answer reads the connection
// itself; while it does, it hands out the answers of others too, and when it has
// its own, one of the others reads on. So a single caller, the usual case, writes
// and reads directly, and no answer costs a switch between goroutines.
//
// An answer finds its request by its transaction id alone. What comes too late, or never was
// asked for, is discarded; a stream that has lost its frames, or an answer that stops half-way,
// closes the connection, since what follows could not be told apart.
type wire struct {
	line    *line
	conn    carrier.Conn
	framing framing
	log     *slog.Logger // of the bytes
	timeout time.Duration
	slots   chan struct{} // holds an element for every request in flight
	done    chan struct{} // closed with the connection
	wake    func()        // makes the reading caller look at its context

	writing sync.Mutex // guards out and writeBy, and keeps requests whole
	out     []byte
	writeBy time.Time // the connection's deadline for writing

	reading chan struct{} // full while a caller reads, which owns what follows
	in      []byte
	head    int       // in[head:tail] is read and not yet handed out
	tail    int       //
	halfAt  time.Time // when in[head:tail] was first seen to be half an answer
	readBy  time.Time // the connection's deadline for reading
	spin    spinner

	mu     sync.Mutex // guards what follows, and caller.answers
	broken *driver.Error
	lastID uint16
	flying []*transaction
	late   []uint16 // ids whose answers may still come
	strays uint64   // answers that were discarded
	free   []*transaction
	owed   *owed // where answers have no ids: the one that may still come
}

// An owed answer did not come in time and may come yet.
type owed struct {
	adu   []byte
	until time.Time
}

// maxLate bounds how many late ids are kept from being used again. A device that
// owes more answers than that is not going to give the first of them.
const maxLate = 256

// The frame (Modbus Messaging on TCP/IP Implementation Guide V1.0b, clause 3.1.3).
const (
	headerSize = 7 // transaction, protocol, length (2 bytes each), unit
	lengthEnd  = 6 // where the bytes that the length counts begin
	maxFrame   = 260
)

// A transaction is a request in flight, and its answer.
type transaction struct {
	id      uint16
	owner   *caller
	request *request
	expires time.Time
	answer  []byte
}

// A caller is one who sends requests and waits for their answers. Its zero value
// is not ready: use newCaller. It serves one goroutine at a time.
type caller struct {
	wake    chan struct{}  // told that another has read answers for it
	sent    []*transaction // not yet received, in the order of sending
	answers []*transaction // guarded by wire.mu
	strays  uint64         // wire.strays when it began to wait
	passed  int            // bytes since then that were no answer
	eager   bool           // its next poll follows at once
}

func newCaller() *caller { return &caller{wake: make(chan struct{}, 1)} }

func newWire(conn carrier.Conn, l *line) *wire {
	size := min((l.window+1)*maxFrame, 4096)
	if l.framing.serial() {
		size = 4 * maxASCII // an echo, noise and an answer
	}
	w := &wire{
		line:    l,
		conn:    conn,
		framing: l.framing,
		log:     l.env.Log,
		timeout: l.timeout,
		slots:   make(chan struct{}, l.window),
		done:    make(chan struct{}),
		reading: make(chan struct{}, 1),
		in:      make([]byte, size),
		spin:    newSpinner(conn),
	}
	w.wake = func() { _ = w.conn.SetReadDeadline(time.Unix(1, 0)) } // fails only when closed
	return w
}

// send writes as many of the requests as the window has room for, at least one
// unless the caller waits for answers already, in one step, and returns how many.
// They expire a time-out from now, or from when the line is free for them.
func (w *wire) send(ctx context.Context, c *caller, requests []*request, now time.Time) (int, error) {
	n, err := w.acquire(ctx, len(requests), len(c.sent) == 0)
	if n == 0 || err != nil {
		return 0, err
	}
	if w.paced() {
		if now, err = w.clear(ctx, requests[0].adu); err != nil {
			w.giveBack(n)
			return 0, err
		}
	}
	w.writing.Lock()
	defer w.writing.Unlock()
	if err := w.begin(c, requests[:n], now.Add(w.timeout+w.line.onLine(requests[0].adu))); err != nil {
		w.giveBack(n)
		return 0, err
	}
	// A write only waits when the peer has not read for long, so it matters little
	// that the deadline is between a half and a whole time-out away.
	if now.Add(w.timeout / 2).After(w.writeBy) {
		w.writeBy = now.Add(w.timeout)
		_ = w.conn.SetWriteDeadline(w.writeBy) // fails only when closed; so does the write
	}
	if driver.Debugs(w.log) {
		w.logSent(requests[:n])
	}
	if _, err := w.conn.Write(w.out); err != nil {
		return 0, w.lost("write", err)
	}
	return n, nil
}

// giveBack frees slots that were acquired and are not used.
func (w *wire) giveBack(n int) {
	for range n {
		<-w.slots
	}
}

// paced reports whether a request may have to wait although nothing is in flight.
func (w *wire) paced() bool {
	return w.line.pace.kept() || w.framing.serial() || w.framing.lenient().trailing
}

// clear waits until the line is free for a request: the time of silence has passed, and no
// answer is on its way that could be taken for its own. What has come meanwhile is thrown away.
// It returns when that was.
func (w *wire) clear(ctx context.Context, adu []byte) (time.Time, error) {
	if !w.framing.serial() {
		if err := w.line.pace.wait(ctx); err != nil || !w.framing.lenient().trailing {
			return time.Now(), err
		}
		return time.Now(), w.discard()
	}
	if err := w.awaitOwed(ctx, adu); err != nil {
		return time.Time{}, err
	}
	if err := w.line.pace.wait(ctx); err != nil {
		return time.Time{}, err
	}
	return time.Now(), w.discard()
}

// discard throws away what has come and was not asked for. The window is 1: nobody reads
// meanwhile.
func (w *wire) discard() error {
	w.head, w.tail, w.halfAt = 0, 0, time.Time{}
	w.readBy = time.Time{} // the carrier may have read, with a deadline of its own
	if err := w.conn.Discard(); err != nil {
		return w.lost("read", err)
	}
	return nil
}

// logSent logs the frames in out, which are those of the requests. The caller holds writing.
func (w *wire) logSent(requests []*request) {
	at := 0
	for _, r := range requests {
		driver.LogBytes(w.log, "sent", r.device, w.out[at:at+len(r.adu)])
		at += len(r.adu)
	}
}

// acquire takes up to wanted slots. Only where wait is set it waits for the first.
func (w *wire) acquire(ctx context.Context, wanted int, wait bool) (int, error) {
	for n := range wanted {
		select {
		case w.slots <- struct{}{}:
			continue
		default:
		}
		if n > 0 || !wait {
			return n, nil
		}
		select {
		case w.slots <- struct{}{}:
			return 1, nil
		case <-w.done:
			return 0, w.cause()
		case <-ctx.Done():
			return 0, ended(ctx)
		}
	}
	return wanted, nil
}

// begin registers the requests and puts their frames into out.
func (w *wire) begin(c *caller, requests []*request, expires time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken != nil {
		return w.broken
	}
	if len(c.sent) == 0 {
		c.strays, c.passed = w.strays, 0
	}
	w.out = w.out[:0]
	for _, r := range requests {
		t := w.newTransaction()
		t.id, t.owner, t.request, t.expires = w.newID(), c, r, expires
		w.flying = append(w.flying, t)
		c.sent = append(c.sent, t)
		at := len(w.out)
		w.out = append(w.out, r.adu...)
		w.framing.stamp(w.out[at:], t.id)
	}
	return nil
}

func (w *wire) newTransaction() *transaction {
	if n := len(w.free); n > 0 {
		t := w.free[n-1]
		w.free = w.free[:n-1]
		return t
	}
	return new(transaction)
}

// newID never gives an id whose answer may still come.
func (w *wire) newID() uint16 {
	for {
		w.lastID++
		if w.inFlight(w.lastID) < 0 && (len(w.late) == 0 || !slices.Contains(w.late, w.lastID)) {
			return w.lastID
		}
	}
}

func (w *wire) inFlight(id uint16) int {
	return slices.IndexFunc(w.flying, func(t *transaction) bool { return t.id == id })
}

// release takes back a transaction that was received.
func (w *wire) release(t *transaction) {
	w.mu.Lock()
	t.owner, t.request = nil, nil
	w.free = append(w.free, t)
	w.mu.Unlock()
}

// abandon ends what the caller still waits for: the answers will be discarded.
func (w *wire) abandon(c *caller) {
	if len(c.sent) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range c.sent {
		if i := slices.Index(w.flying, t); i >= 0 {
			w.land(i)
			w.owe(t)
		}
		t.owner, t.request = nil, nil
		w.free = append(w.free, t)
	}
	c.sent, c.answers = c.sent[:0], c.answers[:0]
	select {
	case <-c.wake:
	default:
	}
}

// abandonOne gives up one request of a caller; the others go on.
func (w *wire) abandonOne(c *caller, q *request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, t := range c.sent {
		if t.request != q {
			continue
		}
		if at := slices.Index(w.flying, t); at >= 0 {
			w.land(at)
			w.owe(t)
		}
		c.sent = slices.Delete(c.sent, i, i+1)
		if at := slices.Index(c.answers, t); at >= 0 {
			c.answers = slices.Delete(c.answers, at, at+1)
		}
		t.owner, t.request = nil, nil
		w.free = append(w.free, t)
		return
	}
}

// forget ends what the caller has sent, to which no answer comes.
func (w *wire) forget(c *caller) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range c.sent {
		if i := slices.Index(w.flying, t); i >= 0 {
			w.land(i)
		}
		t.owner, t.request = nil, nil
		w.free = append(w.free, t)
	}
	c.sent, c.answers = c.sent[:0], c.answers[:0]
}

// owe keeps in mind that the answer to a request that is given up may still come.
func (w *wire) owe(t *transaction) {
	if w.framing.serial() {
		now := time.Now()
		w.owed = &owed{adu: slices.Clone(t.request.adu), until: now.Add(w.timeout)}
		w.line.pace.ended(now, 0)
		return
	}
	w.line.pace.ended(time.Now(), 0)
	if w.late = append(w.late, t.id); len(w.late) > maxLate {
		w.late = slices.Delete(w.late, 0, 1)
	}
}

// land takes a transaction out of flight.
func (w *wire) land(i int) {
	last := len(w.flying) - 1
	w.flying[i] = w.flying[last]
	w.flying[last] = nil
	w.flying = w.flying[:last]
	<-w.slots
}

// ended is the error of a call whose context has ended.
func ended(ctx context.Context) error {
	cause := context.Cause(ctx)
	if cause == nil { // its timer is a little late
		cause = context.DeadlineExceeded
	}
	why := "given up"
	if errors.Is(cause, context.DeadlineExceeded) {
		why = "no answer in the time that there was"
	}
	return &driver.Error{Code: driver.Timeout, Text: why, Err: cause}
}
