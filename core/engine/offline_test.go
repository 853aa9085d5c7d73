package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/engine"
)

func TestLinkOffline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 2)
		d.Delay(50 * time.Millisecond)
		banded := table(2, func(i int, p *control.Point) {
			if i == 1 {
				p.Deadband = ptr(10)
			}
		})
		l := link("l", 1, banded)
		r.apply(l)
		sleep(3 * time.Second)
		phase := d.Polls()[0].At
		polls := len(d.Polls())
		off := link("l", 1, banded)
		off.Offline = true
		for range 3 { // the same again changes nothing
			r.apply(off)
			sleep(2 * time.Second)
		}
		if r.fake.Link("l").Connected() || len(d.Polls()) > polls+1 {
			t.Error("the link is open")
		}
		s := r.link("l")
		if s.Condition != control.Stopped || s.Cause == nil || s.Cause.Text != control.OfflineText || time.Since(s.Since) < 5*time.Second {
			t.Errorf("link is %v since %v: %v", s.Condition, s.Since, s.Cause)
		}
		if s := s.Devices[0]; s.Condition != control.Stopped || s.Cause == nil || s.Cause.Text != control.OfflineText {
			t.Errorf("device is %v: %v", s.Condition, s.Cause)
		}
		sleep(time.Hour)
		r.take(true)
		for handle := range uint32(2) {
			said := r.of(handle + 1)
			bad := 0
			for _, s := range said {
				if s.Quality == driver.Bad {
					bad++
				}
			}
			if last := said[len(said)-1]; bad != 1 || last.Fault == nil || last.Fault.Text != control.OfflineText {
				t.Errorf("handle %d was Bad %d times, last %+v", handle+1, bad, last)
			}
		}
		if _, err := r.Read(t.Context(), "l", "d1", []string{"p0"}); err == nil || err.Error() != control.OfflineText {
			t.Errorf("read: %v", err)
		}
		if err := r.Write(t.Context(), "l", "d1", "p0", driver.Int64Value(1)); err == nil || err.Error() != control.OfflineText {
			t.Errorf("write: %v", err)
		}
		polls = len(d.Polls())
		r.apply(l)
		sleep(3 * time.Second)
		if worst := shifts(times(d.Polls())[polls:], phase, time.Second); worst != 0 || len(d.Polls()) < polls+3 {
			t.Errorf("%d polls, up to %v off the old phase", len(d.Polls())-polls, worst)
		}
		if s := r.device("l", "d1"); s.Condition != control.Up || s.Overruns != 0 {
			t.Errorf("device is %v, %d overruns", s.Condition, s.Overruns)
		}
		r.take(true)
		if said := r.of(2); said[len(said)-1].Quality != driver.Good {
			t.Error("the deadband holds back what is known again")
		}
	})
}

func TestDeviceOffline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		a, b := r.set("l", "d1", 1), r.set("l", "d2", 1)
		a.Delay(20 * time.Millisecond)
		l := link("l", 2, table(1))
		r.apply(l)
		sleep(3 * time.Second)
		phase, neighbours := a.Polls()[0].At, len(b.Polls())
		time.Sleep(time.Until(a.Polls()[len(a.Polls())-1].At.Add(1010 * time.Millisecond))) // in a poll
		off := link("l", 2, table(1))
		off.Devices[0].Offline = true
		r.apply(off)
		polls := len(a.Polls())
		sleep(10 * time.Second)
		if n := len(a.Polls()) - polls; n != 0 {
			t.Errorf("polled %d times while off line", n)
		}
		if s := r.device("l", "d1"); s.Condition != control.Stopped || s.Cause.Text != control.OfflineText {
			t.Errorf("device is %v: %v", s.Condition, s.Cause)
		}
		r.take(true)
		said := r.of(1)
		if n := len(said); n != polls+1 || said[n-1].Quality != driver.Bad || said[n-2].Quality != driver.Good {
			t.Errorf("%d samples of %d polls, last %+v", n, polls, said[len(said)-1])
		}
		if _, err := r.Read(t.Context(), "l", "d1", []string{"p0"}); err == nil || err.Error() != control.OfflineText {
			t.Errorf("read: %v", err)
		}
		if _, err := r.Read(t.Context(), "l", "d2", []string{"p0"}); err != nil {
			t.Errorf("read of the neighbour: %v", err)
		}
		r.fake.Link("l").Break() // what else happens to the link does not touch it
		sleep(5 * time.Second)
		made := len(a.Polls())
		r.apply(l)
		sleep(3 * time.Second)
		if n := len(a.Polls()) - made; n < 2 {
			t.Errorf("%d polls after it came on line", n)
		}
		if worst := shifts(times(a.Polls()), phase, time.Second); worst != 0 {
			t.Errorf("a poll is %v off the old phase", worst)
		}
		if n := len(b.Polls()) - neighbours; n < 16 {
			t.Errorf("the neighbour was polled %d times in 19 s", n)
		}
		if _, err := r.Drain(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		r.take(true)
		if n := len(r.of(1)); n != len(a.Polls())+1 {
			t.Errorf("%d samples of %d polls and one off line", n, len(a.Polls()))
		}
	})
}

func TestOfflineSubscriber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 1)
		d.Pushes()
		r.set("l", "d2", 1)
		l := link("l", 2, table(1))
		off := link("l", 2, table(1))
		off.Devices[0].Offline = true
		r.apply(off)
		sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := d.Emit(ctx, []driver.PointSample{pushed(0, 1)}, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("emit while off line: %v", err)
		}
		for range 2 {
			r.apply(l)
			if err := d.Emit(t.Context(), []driver.PointSample{pushed(0, 1)}, nil); err != nil {
				t.Fatal(err)
			}
			sleep(time.Second)
			r.apply(off)
			sleep(time.Second)
		}
		r.take(true)
		got := ""
		for _, s := range r.of(1) {
			got += s.Quality.String() + " "
		}
		if got != "bad good bad good bad " {
			t.Errorf("samples were %s", got)
		}
		if n := len(r.fake.Link("l").Opens()); n != 1 {
			t.Errorf("the link was opened %d times", n)
		}
	})
}

// TestOfflineGoesWithTheLink hands a link with an off-line device over: it is not
// told again.
func TestOfflineGoesWithTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := link("l", 2, table(1))
		l.Devices[1].Offline = true
		m := link("m", 1, table(1))
		m.Devices[0].FirstHandle, m.Offline = 5000, true
		w, closeAll := newSwap(t, 0, l, m)
		defer closeAll()
		w.start(t)
		sleep(3 * time.Second)
		for range 5 {
			w.move(t, 1-w.owner["l"], time.Second, "l", "m")
			sleep(3 * time.Second)
		}
		for _, s := range w.sides {
			s.take(t)
		}
		for _, handle := range []uint32{1001, 5000} {
			if n := w.sides[0].count(handle, driver.Bad) + w.sides[1].count(handle, driver.Bad); n != 1 {
				t.Errorf("handle %d was told to be Bad %d times", handle, n)
			}
		}
		if n := len(w.fake.Link("m").Opens()); n != 0 {
			t.Errorf("the off-line link was opened %d times", n)
		}
	})
}

func TestStandbyTellsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		l := link("l", 1, table(1))
		l.Offline = true
		r.applyWith(control.ApplyOptions{Standby: true}, l)
		sleep(time.Minute)
		r.take(true)
		if len(r.samples) != 0 {
			t.Errorf("a standby told %v", r.samples)
		}
		if err := r.Activate(t.Context(), nil, control.ActivateOptions{}); err != nil {
			t.Fatal(err)
		}
		sleep(time.Second)
		r.take(true)
		if len(r.samples) != 1 || len(r.fake.Link("l").Opens()) != 0 {
			t.Errorf("samples %v", r.samples)
		}
	})
}

func TestCheckOfflineLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		a, b := r.set("l", "d1", 1), r.set("l", "d2", 1)
		l := link("l", 2, table(1))
		l.Offline = true
		r.apply(l)
		sleep(time.Second)
		script := r.fake.Link("l")
		check := func(device, want string) {
			t.Helper()
			before := r.link("l")
			err := r.Check(t.Context(), "l", device)
			if got := fmt.Sprint(err); !strings.Contains(got, want) {
				t.Errorf("check of %q: %v, want %q", device, got, want)
			}
			if script.Connected() {
				t.Error("what was opened is open still")
			}
			if after := r.link("l"); after.Condition != before.Condition || !after.Since.Equal(before.Since) {
				t.Errorf("the state has changed: %+v", after)
			}
		}
		check("", "<nil>")
		check("d1", "<nil>")
		a.Silence(true)
		check("", "<nil>") // the other answers
		check("d1", "no answer")
		b.Silence(true)
		check("", "no answer")
		a.Silence(false)
		a.Fail(driver.Errorf(driver.Denied, "not you"))
		check("d1", "<nil>") // it refuses, so it lives
		a.Fail(nil)
		script.FailOpen(errors.New("no such port"))
		check("", "no such port")
		script.FailOpen(nil)
		check("d9", "no device")
		a.Panic("ouch")
		check("d1", "panicked")
		a.Panic(nil)
		a.Pushes()
		check("d1", "<nil>")
		a.Fail(driver.Errorf(driver.Timeout, "no suback"))
		check("d1", "no suback")
		a.Fail(nil)
		script.FailOpen(nil)
		r.take(true)
		if len(r.samples) != 2 {
			t.Errorf("the checks left samples: %v", r.samples)
		}
		if n := script.MostOpen(); n != 1 {
			t.Errorf("open %d times at once", n)
		}
	})
}

// TestCheckAndOnline takes the link on line while a check has it: it is opened when
// the check has ended.
func TestCheckAndOnline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 1)
		d.Delay(800 * time.Millisecond)
		l := link("l", 1, table(1))
		off := l
		off.Offline = true
		r.apply(off)
		go func() {
			if err := r.Check(context.Background(), "l", ""); err != nil {
				t.Errorf("check: %v", err)
			}
		}()
		sleep(100 * time.Millisecond)
		if err := r.Check(t.Context(), "l", ""); driver.CodeOf(err) != driver.Busy {
			t.Errorf("a second check: %v", err)
		}
		r.apply(l)
		sleep(5 * time.Second)
		if s := r.link("l"); s.Condition != control.Up || r.fake.Link("l").MostOpen() != 1 {
			t.Errorf("link is %v, open %d times at once", s.Condition, r.fake.Link("l").MostOpen())
		}
	})
}

func TestCheckOfADriverThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 1)
		release := d.Hang()
		l := link("l", 1, table(1))
		l.Offline = true
		r.apply(l)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		if err := r.Check(ctx, "l", ""); driver.CodeOf(err) != driver.Internal {
			t.Errorf("check: %v", err)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("check took %v", took)
		}
		release()
		sleep(time.Minute)
		if err := r.Check(t.Context(), "l", ""); err != nil {
			t.Errorf("check after it: %v", err)
		}
	})
}

// TestCheckBesideNeighbours asks an off-line device on an open link: no neighbour moves.
func TestCheckBesideNeighbours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		dead, pushes := r.set("l", "d1", 1), r.set("l", "d2", 1)
		pushes.Pushes()
		l := link("l", 6, table(1))
		l.Timeout = 100 * time.Millisecond
		l.Devices[0].Offline, l.Devices[1].Offline = true, true
		for i := range 4 {
			r.set("l", "d"+string(rune('3'+i)), 1)
		}
		r.apply(l)
		sleep(5 * time.Second)
		if err := r.Check(t.Context(), "l", "d1"); err != nil {
			t.Errorf("check: %v", err)
		}
		dead.Silence(true)
		for range 10 {
			if err := r.Check(t.Context(), "l", "d1"); driver.CodeOf(err) != driver.Timeout {
				t.Errorf("check of a dead device: %v", err)
			}
			if err := r.Check(t.Context(), "l", "d2"); err != nil {
				t.Errorf("check of one that pushes: %v", err)
			}
			sleep(130 * time.Millisecond)
		}
		if err := r.Check(t.Context(), "l", ""); err != nil {
			t.Errorf("check of a link that is on line: %v", err)
		}
		if s := r.device("l", "d1"); s.Condition != control.Stopped || s.Cause.Text != control.OfflineText {
			t.Errorf("the dead device is %v: %v", s.Condition, s.Cause)
		}
		for i := range 4 {
			name := "d" + string(rune('3'+i))
			if late := r.device("l", name).MaxLate; late > time.Millisecond {
				t.Errorf("%s was %v late", name, late)
			}
		}
		if n := len(r.fake.Link("l").Opens()); n != 1 {
			t.Errorf("the link was opened %d times", n)
		}
		r.fake.Link("l").Break()
		sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := r.Check(ctx, "l", "d2"); err != nil {
			t.Errorf("check after the link was opened again: %v", err)
		}
	})
}

// TestRequestHastensTheLink reads from a link that has backed off for long: the
// read opens it, or tells why not, and not more than once a second.
func TestRequestHastensTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		r.set("l", "d1", 1)
		script := r.fake.Link("l")
		script.FailOpen(errors.New("refused"))
		r.apply(link("l", 1, table(1)))
		sleep(10 * time.Minute)
		script.FailOpen(errors.New("refused differently"))
		time.Sleep(5 * time.Second)
		before := len(script.Opens())
		began := time.Now()
		for range 30 {
			_, err := r.Read(t.Context(), "l", "d1", []string{"p0"})
			if driver.CodeOf(err) != driver.NotConnected || !strings.Contains(err.Error(), "differently") {
				t.Fatalf("read: %v", err)
			}
		}
		took, opens := time.Since(began), len(script.Opens())-before
		if opens < 28 || opens > 31 || took < 28*time.Second {
			t.Errorf("30 reads in %v opened %d times", took, opens)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := r.Read(ctx, "l", "d1", []string{"p0"}); driver.CodeOf(err) != driver.Timeout {
			t.Errorf("a read with less patience: %v", err)
		}
		script.FailOpen(nil)
		if s, err := r.Read(t.Context(), "l", "d1", []string{"p0"}); err != nil || s[0].Quality != driver.Good {
			t.Errorf("read when it is well again: %v %v", s, err)
		}
		if s := r.link("l"); s.Condition != control.Up {
			t.Errorf("link is %v", s.Condition)
		}
	})
}

// TestCheckOnline checks what is on line: it is asked as ever, and a device that
// pushes is not subscribed to twice.
func TestCheckOnline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 1)
		d.Pushes()
		polled := r.set("l", "d2", 1)
		r.apply(link("l", 2, table(1)))
		sleep(2 * time.Second)
		for _, device := range []string{"", "d1", "d2"} {
			if err := r.Check(t.Context(), "l", device); err != nil {
				t.Errorf("check of %q: %v", device, err)
			}
		}
		if err := d.Emit(t.Context(), []driver.PointSample{pushed(0, 1)}, nil); err != nil {
			t.Error(err)
		}
		polled.SetSample("a0", driver.Faulted(driver.Errorf(driver.Timeout, "nobody there")))
		if err := r.Check(t.Context(), "l", "d2"); driver.CodeOf(err) != driver.Timeout {
			t.Errorf("check of one that does not answer: %v", err)
		}
		if _, err := r.Drain(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if err := r.Check(t.Context(), "l", ""); driver.CodeOf(err) != driver.NotConnected {
			t.Errorf("check of a link that another process has: %v", err)
		}
	})
}

// TestCheckAndChange changes the link's settings while a check has it: the new one
// is opened after the check.
func TestCheckAndChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 1)
		d.Delay(900 * time.Millisecond)
		l := link("l", 1, table(1))
		off := l
		off.Offline = true
		r.apply(off)
		ended := make(chan error)
		go func() { ended <- r.Check(context.Background(), "l", "d1") }()
		sleep(100 * time.Millisecond)
		l.Gap = time.Millisecond
		r.apply(l)
		if err := <-ended; err != nil {
			t.Errorf("check: %v", err)
		}
		sleep(3 * time.Second)
		if s := r.link("l"); s.Condition != control.Up || r.fake.Link("l").MostOpen() != 1 {
			t.Errorf("link is %v, open %d times at once", s.Condition, r.fake.Link("l").MostOpen())
		}
	})
}
