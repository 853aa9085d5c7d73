package engine_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/engine"
)

// TestWritesThatWereNotSentSaySo has a write fail in every place before its driver call,
// and in the call.
func TestWritesThatWereNotSentSaySo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 1)
		r.apply(link("l", 1, table(1)))
		sleep(time.Second)
		write := func(ctx context.Context) error { return r.Write(ctx, "l", "d1", "p0", driver.Int64Value(9)) }
		for _, code := range []driver.Code{driver.NotConnected, driver.Timeout, driver.Protocol, driver.Internal} {
			d.Fail(driver.Errorf(code, "no"))
			if err := write(t.Context()); !driver.MayBeDone(err) {
				t.Errorf("a call that failed with %v counts as not made: %v", code, err)
			}
			d.Fail(nil)
			sleep(2 * time.Minute)
		}
		d.Fail(driver.Errorf(driver.NotConnected, "%w: closed before", driver.ErrNotSent))
		if err := write(t.Context()); driver.MayBeDone(err) || driver.CodeOf(err) != driver.NotConnected {
			t.Errorf("a driver that knows better is not believed: %v", err)
		}
		d.Fail(nil)
		sleep(2 * time.Minute)

		// One that waits behind another call, which breaks the link.
		d.Delay(900 * time.Millisecond)
		d.Fail(driver.Errorf(driver.NotConnected, "reset"))
		busy := make(chan error, 1)
		go func() { busy <- write(t.Context()) }()
		sleep(100 * time.Millisecond)
		waiting := make(chan error, 1)
		go func() { waiting <- write(t.Context()) }()
		sleep(100 * time.Millisecond)
		short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if err := write(short); driver.MayBeDone(err) || !errors.Is(err, driver.ErrNotSent) {
			t.Errorf("a write that was never begun: %v", err)
		}
		if err := <-busy; !driver.MayBeDone(err) {
			t.Errorf("the write that the link broke in: %v", err)
		}
		if err := <-waiting; driver.MayBeDone(err) || driver.CodeOf(err) != driver.NotConnected {
			t.Errorf("a write that waited when the link broke: %v", err)
		}
		if n := len(d.Writes()); n > 5 {
			t.Errorf("%d writes reached the device", n)
		}
	})
}

// TestWritesToALinkThatIsAwaySaySo asks in every state in which a link takes nothing.
func TestWritesToALinkThatIsAwaySaySo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 1)
		script := r.fake.Link("l")
		script.FailOpen(driver.Errorf(driver.Timeout, "no answer from the port"))
		r.apply(link("l", 1, table(1)))
		sleep(time.Minute)
		refused := func(what string) {
			t.Helper()
			err := r.Write(t.Context(), "l", "d1", "p0", driver.Int64Value(9))
			if err == nil || driver.MayBeDone(err) {
				t.Errorf("%s: %v", what, err)
			}
		}
		refused("a link that does not open")
		script.FailOpen(nil)
		sleep(2 * time.Minute)
		if _, err := r.Drain(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		refused("a link that is drained")
		if n := len(d.Writes()); n != 0 {
			t.Errorf("%d writes reached the device", n)
		}
	})
}
