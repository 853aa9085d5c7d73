package modbus

import (
	"errors"

	"github.com/fieldloom/fieldloom/core/driver"
)

// shut closes the connection and tells everyone why. The first reason counts.
func (w *wire) shut(operation string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken == nil {
		w.broken = driver.Errorf(driver.NotConnected, "%s: %w", operation, err)
		close(w.done)
		_ = w.conn.Close() // the reason is known already
	}
}

// over reports whether the connection cannot be used any more. idle: nobody uses it, so that
// the other side's end can be looked for.
func (w *wire) over(idle bool) bool {
	w.mu.Lock()
	broken := w.broken != nil
	asked := len(w.flying) > 0 // ahead of the call: its answer shows how the connection is
	settled := !asked && len(w.late) == 0
	w.mu.Unlock()
	switch {
	case broken || !idle || asked:
		return broken
	case settled && w.tail > w.head && !w.framing.serial() && !w.line.frames && !w.framing.lenient().trailing:
		// The next answer could not be told from them.
		driver.LogBytes(w.log, "received what nobody asked for", "", w.in[w.head:w.tail])
		w.shut("use the connection", errLeftOver)
		return true
	case w.conn.Ended():
		w.shut("use the connection", errPeerEnded)
		return true
	}
	return false
}

var errLeftOver = errors.New("bytes came behind an answer that are no frame")

// errPeerEnded is the end of a connection that the other side has closed, or that broke. A
// read that had no byte of its answer is asked again on another connection.
var errPeerEnded = errors.New("the other side has closed the connection")

// lost shuts the wire because the connection has ended by itself.
func (w *wire) lost(operation string, err error) error {
	return w.fail(operation, &endedError{err})
}

// An endedError is the end of a connection while an answer was awaited.
type endedError struct{ error }

func (e *endedError) Unwrap() []error { return []error{errPeerEnded, e.error} }

// fail shuts the wire and returns why it is shut.
func (w *wire) fail(operation string, err error) error {
	w.shut(operation, err)
	return w.cause()
}

// cause is why the wire is shut.
func (w *wire) cause() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.broken
}
