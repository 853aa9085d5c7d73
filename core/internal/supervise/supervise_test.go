package supervise_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/frame"
	"github.com/fieldloom/fieldloom/core/internal/spool"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
	"github.com/fieldloom/fieldloom/core/internal/wire"
	"github.com/fieldloom/fieldloom/core/plugin"
	"github.com/fieldloom/fieldloom/drivers/modbus"
)

// TestMain makes the test binary a driver too, when it is executed under its name.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "driver-modbus" {
		plugin.Serve(modbus.New())
		return
	}
	goleak.VerifyTestMain(m)
}

func TestStartApplyAttachStoreAck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var live []uint64
		r := newRig(t, func(o *supervise.Options) {
			o.Spool = tellingSpool{o.Spool, func(rec spool.Record) { live = append(live, rec.Sequence) }}
		})
		defer r.s.Close(false)
		r.set(1)
		p := <-r.starts
		a := p.attachment()
		synctest.Wait()
		if got := r.status(); got.State != supervise.Active || got.PID != 1001 || got.Version != "1.0.0" || got.Engine == nil || got.Down != nil {
			t.Errorf("status %+v", got)
		}
		if a.hello.CoreEpoch != 7 || a.hello.ProcessEpoch != 1 || a.hello.ResumeAfter != 0 || a.hello.Frames == 0 || a.hello.Bytes == 0 {
			t.Errorf("hello %+v", a.hello)
		}
		a.frame(1)
		a.frame(2)
		r.wantStory("fake 1/1", "fake 1/2")
		if a.ackedUpTo() != 2 || cmp.Diff(live, []uint64{1, 2}) != "" {
			t.Errorf("acked %d, live %v", a.ackedUpTo(), live)
		}
		if c, err := r.s.Control("fake", "line"); err != nil || c == nil {
			t.Errorf("Control: %v", err)
		}
		if _, err := r.s.Control("other", ""); driver.CodeOf(err) != driver.NotConnected {
			t.Errorf("Control of another: %v", err)
		}
	})
}

func TestChangedStateIsAppliedToTheLivingProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.s.Close(false)
		r.set(1)
		p := <-r.starts
		r.set(2)
		r.set(3)
		synctest.Wait()
		got := p.applies()
		if last := got[len(got)-1].Revision; last != 3 || len(r.times) != 1 {
			t.Errorf("last revision %d with %d starts, want 3 with 1", last, len(r.times))
		}
		r.want(supervise.Desired{State: got[len(got)-1]})
		synctest.Wait()
		if n := len(p.applies()); n != len(got) {
			t.Errorf("the same state was applied again")
		}
	})
}

func TestDeathIsRestartedReappliedAndRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.s.Close(false)
		r.set(1)
		p := <-r.starts
		a := p.attachment()
		synctest.Wait()
		a.frame(1)
		died := time.Now()
		p.die("killed", "panic: out of cheese")
		p2 := <-r.starts
		if pause := time.Since(died); pause > 0 {
			t.Errorf("the first restart came after %v", pause)
		}
		a2 := p2.attachment()
		synctest.Wait()
		s := r.status()
		r.wantStory("fake 1/1") // nothing is known of the outage's end yet
		a2.frame(1)
		r.wantStory("fake 1/1", "gap: driver fake: an unknown number of samples: "+s.Cause, "fake 2/1")
		if got := p2.applies(); len(got) != 1 || got[0].Revision != 1 {
			t.Errorf("applied to the successor: %v", got)
		}
		if a2.hello.ResumeAfter != 0 {
			t.Errorf("the successor was told to resume after %d of its predecessor", a2.hello.ResumeAfter)
		}
		if s := r.status(); s.Restarts != 1 || s.Gaps != 1 || s.State != supervise.Active || !s.Over || !s.Processes[0].Over || !strings.Contains(s.Cause, "killed") ||
			!strings.Contains(s.Cause, "pid 1001") || cmp.Diff(s.Stderr, []string{"panic: out of cheese"}) != "" {
			t.Errorf("status after the restart: %+v", s)
		}
		died = time.Now()
		p2.die("killed", "again")
		synctest.Wait()
		s = r.status()
		if s.State != supervise.BackingOff || s.Over || !strings.Contains(s.Cause, "pid 1002") || s.Stderr[0] != "again" ||
			!s.Since.Equal(died) || s.Down == nil || !s.Lost.Equal(died) || s.Retry.Before(died) {
			t.Errorf("status of the dead: %+v", s)
		}
		if _, err := r.s.Control("fake", "line"); driver.CodeOf(err) != driver.NotConnected || !strings.Contains(err.Error(), "killed") {
			t.Errorf("Control of the dead: %v", err)
		}
		<-r.starts
		if pause := time.Since(died); pause < 80*time.Millisecond || pause > 120*time.Millisecond {
			t.Errorf("the second restart came after %v", pause)
		}
	})
}

func TestBackoffGrowsToAMinuteAndBeginsAnewAfterAHealthyOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.s.Close(false)
		missing := error(driver.Errorf(driver.InvalidConfig, "no such file"))
		r.fail.Store(&missing)
		began := time.Now()
		r.set(1)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		var pauses []time.Duration
		for i := range len(r.times) - 1 {
			pauses = append(pauses, r.times[i+1].Sub(r.times[i]))
		}
		want := 100 * time.Millisecond
		for i, pause := range pauses {
			if pause < want*8/10 || pause > want*12/10 {
				t.Errorf("pause %d is %v, want about %v", i, pause, want)
			}
			want = min(2*want, time.Minute)
		}
		if len(pauses) < 15 {
			t.Errorf("only %d attempts in ten minutes", len(pauses))
		}
		if s := r.status(); s.State != supervise.BackingOff || !strings.Contains(s.Cause, "no such file") || !s.Lost.Equal(began) {
			t.Errorf("status %+v, lost since the first attempt at %v", s, began)
		}
		r.fail.Store(nil)
		p := <-r.starts
		for a := p.attachment(); time.Since(began) < 15*time.Minute; time.Sleep(time.Second) {
			a.to.Heartbeat(0)
		}
		died := time.Now()
		p.die("killed")
		<-r.starts
		if pause := time.Since(died); pause > 0 {
			t.Errorf("after healthy minutes the restart took %v", pause)
		}
	})
}

func TestSilenceKills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.s.Close(false)
		r.set(1)
		p := <-r.starts
		a := p.attachment()
		for range 30 {
			time.Sleep(time.Second)
			a.to.Heartbeat(0)
		}
		synctest.Wait()
		if s := r.status(); s.State != supervise.Active {
			t.Fatalf("killed though its heart beat: %+v", s)
		}
		silent := time.Now()
		p2 := <-r.starts
		if after := time.Since(silent); after < 4*time.Second || after > 8*time.Second {
			t.Errorf("replaced %v after the last heartbeat", after)
		}
		if !p.wasStopped() {
			t.Error("the hanging process was not stopped")
		}
		p2.attachment().frame(1)
		if story := r.spool.story(); len(story) != 2 || !strings.Contains(story[0], "no heartbeat for 5s") {
			t.Errorf("in the spool: %v", story)
		}
	})
}

func TestAStreamThatEndedForItsSilenceKills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.s.Close(false)
		r.set(1)
		p := <-r.starts
		a := p.attachment()
		time.Sleep(4500 * time.Millisecond)
		a.breakOff(errors.New("no heartbeat"))
		synctest.Wait()
		if s := r.status(); !p.wasStopped() || !strings.Contains(s.Cause, "no heartbeat for 5s") {
			t.Errorf("a process that hangs was attached again: %+v", s)
		}
	})
}

func TestAFullSpoolIsNotTheDriversSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.s.Close(false)
		r.set(1)
		p := <-r.starts
		a := p.attachment()
		hold := make(chan struct{})
		r.spool.mu.Lock()
		r.spool.hold = hold
		r.spool.mu.Unlock()
		go a.frame(1)
		time.Sleep(time.Hour)
		if s := r.status(); s.State != supervise.Active || s.Restarts != 0 {
			t.Errorf("the driver paid for the disk: %+v", s)
		}
		close(hold)
		synctest.Wait()
		r.wantStory("fake 1/1")
	})
}

func TestBrokenStreamIsAttachedAgainAfterTheMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.s.Close(false)
		r.set(1)
		p := <-r.starts
		a := p.attachment()
		for seq := range uint64(3) {
			a.frame(seq + 1)
		}
		a.breakOff(errors.New("connection reset"))
		b := p.attachment()
		if b.hello.ResumeAfter != 3 || b.hello.ProcessEpoch != 1 {
			t.Errorf("hello %+v, want to resume after 3", b.hello)
		}
		b.frame(3) // a repetition
		b.frame(4)
		synctest.Wait()
		r.wantStory("fake 1/1", "fake 1/2", "fake 1/3", "fake 1/4")
		if s := r.status(); s.Restarts != 0 || s.Gaps != 0 || b.ackedUpTo() != 4 {
			t.Errorf("status %+v, acked %d", s, b.ackedUpTo())
		}
	})
}

func TestAProcessThatCannotBeAttachedIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.s.Close(false)
		r.set(1)
		p := <-r.starts
		a := p.attachment()
		p.mu.Lock()
		p.attachErr = errors.New("evicted")
		p.mu.Unlock()
		a.breakOff(errors.New("evicted"))
		<-r.starts
		if !p.wasStopped() || !strings.Contains(r.logged(), "evicted") {
			t.Errorf("stopped %v, log:\n%s", p.wasStopped(), r.logged())
		}
	})
}

// A stream that breaks whenever it was opened does so at a frame that nobody can take.
func TestAProcessWhoseStreamBreaksAgainAndAgainIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.beats = true
		defer r.s.Close(false)
		r.set(1)
		p := <-r.starts
		for range 10 {
			(<-p.attached).breakOff(errors.New("connection reset"))
			time.Sleep(20 * time.Second)
		}
		if p.wasStopped() {
			t.Fatal("it was replaced although its stream broke every 20 s only")
		}
		time.Sleep(time.Minute)
		for range 5 {
			(<-p.attached).breakOff(errors.New("a message of 100 MB"))
		}
		<-r.starts
		if s := r.status(); !p.wasStopped() || !strings.Contains(s.Cause, "broke 5 times within 1m0s") || !strings.Contains(s.Cause, "a message of 100 MB") {
			t.Errorf("stopped %v: %s", p.wasStopped(), s.Cause)
		}
	})
}

func TestHolesAreRecordedOnceAndOnlyWhenTheDriverDoesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.s.Close(false)
		r.set(1)
		a := (<-r.starts).attachment()
		a.frame(1)
		a.frame(5)
		own := &frame.Gap{Samples: 9, FirstSeq: 6, LastSeq: 8, Cause: driver.Errorf(driver.Lost, "the ring was full")}
		a.to.Frame(8, wire.AppendFrame(nil, 8, nil, own))
		a.frame(9)
		r.wantStory("fake 1/1", "gap: driver fake: frames 2 to 4 never came", "fake 1/5", "fake 1/8", "fake 1/9")
		if n := r.spool.commits.Load(); n != 0 {
			t.Errorf("%d commits for holes, which are committed with what follows them", n)
		}
	})
}

func TestTheGatewaysOwnAbsenceIsAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := time.Now().Add(-time.Hour)
		r := newRig(t, func(o *supervise.Options) { o.LastRun = from })
		defer r.s.Close(false)
		r.spool.marks = map[string][2]uint64{"fake": {99, 12}}
		r.set(1)
		a := (<-r.starts).attachment()
		synctest.Wait()
		a.frame(1)
		r.wantStory("gap: driver fake: an unknown number of samples: the gateway was not running", "fake 1/1")
		_, _, g, err := wire.DecodeFrame(r.spool.records[0].Data)
		if err != nil || !g.From.Equal(from) || !g.To.Equal(time.Now()) || g.Samples != 0 {
			t.Errorf("gap %+v, %v", g, err)
		}
	})
}

func TestCloseDrainsAndWaitsUntilAllIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.set(1)
		p := <-r.starts
		a := p.attachment()
		p.drained.LastSequence = 2
		p.onDrain = func() {
			go func() {
				time.Sleep(time.Second)
				a.frame(1)
				a.frame(2)
			}()
		}
		r.s.Close(false)
		r.s.Close(false)
		r.wantStory("fake 1/1", "fake 1/2")
		if !p.wasStopped() || a.ackedUpTo() != 2 {
			t.Errorf("stopped %v, acked %d", p.wasStopped(), a.ackedUpTo())
		}
		if _, err := r.s.Prepare(t.Context(), "late"); err == nil {
			t.Error("a closed supervisor started a driver")
		}
	})
}

func TestCloseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.set(1)
		p := <-r.starts
		<-p.attached
		p.drained.LastSequence = 1000 // which never come
		began := time.Now()
		r.s.Close(false)
		if took := time.Since(began); took > 11*time.Second {
			t.Errorf("Close took %v", took)
		}
		if !strings.Contains(r.logged(), "were not stored") {
			t.Errorf("the loss is not in the log:\n%s", r.logged())
		}
	})
}

func TestAKindThatIsNotWantedAnyMoreStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPool(t, nil)
		defer r.s.Close(false)
		r.set(1)
		p := <-r.starts
		<-p.attached
		p.onDrain = func() { time.Sleep(3 * time.Second) }
		r.s.Set(nil)
		if n := len(r.s.Status(t.Context())); n != 0 {
			t.Errorf("%d drivers in the status", n)
		}
		r.set(2) // wanted again while the old one still drains
		p2 := <-r.starts
		<-p2.attached
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if !p.wasStopped() || r.world.who("line") != p2.epoch || len(r.world.wrong) > 0 {
			t.Errorf("stopped %v, the link is with %d, %v", p.wasStopped(), r.world.who("line"), r.world.wrong)
		}
	})
}

func TestPrepareTellsWhyAStartFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.s.Close(false)
		r.failWith("permission denied")
		if _, err := r.s.Prepare(t.Context(), "fake"); err == nil || !strings.Contains(err.Error(), "permission denied") {
			t.Errorf("Prepare: %v", err)
		}
		r.fail.Store(nil)
		<-r.starts
		synctest.Wait()
		p, err := r.s.Prepare(t.Context(), "fake")
		if err != nil || p.Description().Version != "1.0.0" {
			t.Errorf("Prepare of one that runs: %v", err)
		}
		if s := r.status(); s.State != supervise.Starting {
			t.Errorf("without a state it is %s", s.State)
		}
	})
}

func TestARefusedStateShowsInTheStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.s.Close(false)
		r.s.Set(nil)
		p, err := r.s.Prepare(t.Context(), "fake")
		if err != nil {
			t.Fatal(err)
		}
		p.(*fakeProcess).faults = []*driver.ConfigError{{Link: "line", Text: "no such port"}}
		r.set(4)
		synctest.Wait()
		if s := r.status(); !strings.Contains(s.Cause, "revision 4 refused") || !strings.Contains(s.Cause, "no such port") {
			t.Errorf("status %+v", s)
		}
	})
}

func TestDriverThatTellsTooMuchDoesNotFillTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var written bytes.Buffer
		r := newRig(t, func(o *supervise.Options) {
			o.Log = slog.New(slog.NewTextHandler(&written, &slog.HandlerOptions{Level: slog.LevelDebug}))
		})
		r.beats = true
		defer r.s.Close(false)
		r.set(1)
		a := (<-r.starts).attachment()
		timeout := driver.Errorf(driver.Timeout, "no answer")
		for n := range 20_000 {
			a.to.Event(control.Event{Link: "line", Device: fmt.Sprint("made up ", n), Condition: control.Down, Cause: timeout})
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if log := written.String(); strings.Contains(log, "made up") || strings.Contains(log, "WARN") {
			t.Errorf("devices that there are not are in the log:\n%.1000s", log)
		}
		for range 20_000 {
			a.to.Event(control.Event{Link: "line", Device: "m1", Condition: control.Down, Cause: timeout})
			a.to.Event(control.Event{Link: "line", Device: "m1", Condition: control.Up})
		}
		for n := range uint64(15) { // one more and it would be killed
			a.frame(2 + 2*n)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := strings.Count(written.String(), "WARN"); n > 100 {
			t.Errorf("%d lines of one device", n)
		}
		written.WriteString("later\n")
		a.to.Event(control.Event{Link: "line", Device: "m1", Condition: control.Degraded, Cause: timeout})
		synctest.Wait()
		log := written.String()
		before, later, _ := strings.Cut(log, "later\n")
		if n := strings.Count(before, "device=m1"); n > 10_000 {
			t.Errorf("%d lines of the device", n)
		}
		if n := strings.Count(before, "\n") - strings.Count(before, "device=m1"); n > 200 {
			t.Errorf("%d other lines", n)
		}
		if !strings.Contains(later, "more than is logged") || !strings.Contains(later, "device is degraded") {
			t.Errorf("after the flood: %.500s", later)
		}
	})
}

func TestConditionsAreLoggedOnceAndOnlyTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.beats = true
		defer r.s.Close(false)
		r.set(1)
		a := (<-r.starts).attachment()
		timeout := driver.Errorf(driver.Timeout, "no answer")
		for _, e := range []control.Event{
			{Link: "line", Condition: control.Up},
			{Link: "line", Device: "m1", Condition: control.Up},
			{Link: "line", Device: "m1", Condition: control.Down, Cause: timeout},
			{Link: "line", Device: "m1", Condition: control.Down, Cause: timeout},
			{Link: "line", Device: "m1", Condition: control.Up},
			{Link: "line", Condition: control.Stopped},
		} {
			a.to.Event(e)
		}
		time.Sleep(time.Minute)
		log := r.logged()
		if strings.Count(log, "\n") != 1 || !strings.Contains(log, "link=line device=m1 code=timeout") {
			t.Errorf("log:\n%s", log)
		}
	})
}
