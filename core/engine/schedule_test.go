package engine_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/driver/drivertest"
	"github.com/fieldloom/fieldloom/core/engine"
)

func TestIntervalsAreTrue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 3)
		d.Delay(130 * time.Millisecond)
		r.apply(link("l", 1, table(3)))
		sleep(10 * time.Second)
		r.take(true)
		polls := times(d.Polls())
		if len(polls) < 9 || len(polls) > 10 {
			t.Fatalf("%d polls in 10 s at 1 s", len(polls))
		}
		for i := 1; i < len(polls); i++ {
			if gap := polls[i].Sub(polls[i-1]); gap != time.Second {
				t.Errorf("poll %d came after %v", i, gap)
			}
		}
		if got := len(r.of(1)); got != len(polls) && got != len(polls)-1 {
			t.Errorf("%d samples of %d polls", got, len(polls))
		}
		s := r.device("l", "d1")
		if s.Condition != control.Up || s.Overruns != 0 || s.LastPoll != 130*time.Millisecond {
			t.Errorf("status is %+v", s)
		}
	})
}

func TestLatePollShiftsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 1)
		l := link("l", 1, table(1))
		l.Timeout = 10 * time.Second
		r.apply(l)
		sleep(3 * time.Second)
		phase := d.Polls()[0].At
		d.Delay(2300 * time.Millisecond)
		sleep(time.Second) // the slow poll begins, and takes the two due times after it
		d.Delay(0)
		sleep(10 * time.Second)
		s := r.device("l", "d1")
		if s.Overruns != 2 {
			t.Errorf("%d overruns, want 2", s.Overruns)
		}
		if worst := shifts(times(d.Polls()), phase, time.Second); worst != 0 {
			t.Errorf("a poll is %v off its grid", worst)
		}
		if n := len(d.Polls()); n < 11 || n > 12 {
			t.Errorf("%d polls in 14 s with two left out: a burst, or a hole", n)
		}
	})
}

func TestSlotsStartTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		var links []control.Link
		for i := range 200 {
			l := link(fmt.Sprintf("l%d", i), 1, table(1))
			l.Devices[0].FirstHandle = uint32(i + 1)
			links = append(links, l)
		}
		r.apply(links...)
		sleep(2 * time.Second)
		slots := map[time.Duration]int{}
		for i := range 200 {
			at := r.fake.Link(fmt.Sprintf("l%d", i)).Device("d1").Polls()[0].At
			slots[time.Duration(at.UnixNano())%time.Second]++
		}
		if len(slots) != 20 {
			t.Errorf("200 polls lie in %d slots, want 20", len(slots))
		}
		for at := range slots {
			if at%(50*time.Millisecond) != 0 {
				t.Errorf("a slot lies at %v", at)
			}
		}
	})
}

func TestPhaseOutlivesOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		t1 := table(1)
		r.apply(link("l", 3, t1))
		d := r.set("l", "d2", 1)
		sleep(5 * time.Second)
		r.apply(link("l", 2, t1), link("m", 0, t1))
		sleep(5 * time.Second)
		polls := times(d.Polls())
		if worst := shifts(polls, polls[0], time.Second); worst != 0 || len(polls) < 9 {
			t.Errorf("%d polls, %v off the grid", len(polls), worst)
		}
		if n := len(r.fake.Link("l").Opens()); n != 1 {
			t.Errorf("the link was opened %d times", n)
		}
	})
}

func TestLongPeriodsBeginSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 1)
		l := link("l", 1, table(1))
		l.Classes[0].Period = time.Hour
		r.apply(l)
		sleep(1001 * time.Millisecond)
		if n := len(d.Polls()); n != 1 {
			t.Fatalf("%d polls in the first second", n)
		}
		sleep(3 * time.Hour)
		polls := times(d.Polls())
		if n := len(polls); n != 4 || polls[3].Sub(polls[2]) != time.Hour || polls[2].Sub(polls[1]) != time.Hour {
			t.Errorf("polls at %v", polls)
		}
	})
}

func TestContinuousClass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 1)
		d.Delay(10 * time.Millisecond)
		l := link("l", 1, table(1))
		l.Classes[0].Period = 0
		r.apply(l)
		sleep(time.Second + time.Millisecond)
		if n := len(d.Polls()); n < 99 || n > 101 {
			t.Errorf("%d polls of 10 ms in a second", n)
		}
	})
}

func TestInterRequestGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 1)
		d.Delay(10 * time.Millisecond)
		l := link("l", 1, table(1))
		l.Classes[0].Period = 0
		l.Gap = 40 * time.Millisecond
		r.apply(l)
		sleep(time.Second)
		polls := times(d.Polls())
		for i := 1; i < len(polls); i++ {
			if gap := polls[i].Sub(polls[i-1]); gap != 50*time.Millisecond {
				t.Fatalf("a request began %v after the one before", gap)
			}
		}
	})
}

func TestPriorities(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 1)
		d.Delay(50 * time.Millisecond)
		l := link("l", 1, table(1))
		l.Classes[0].Period = 0 // there is always a poll to come
		r.apply(l)
		sleep(110 * time.Millisecond)
		done := make(chan string, 2)
		go func() {
			if _, err := r.Read(context.Background(), "l", "d1", []string{"p0"}); err != nil {
				t.Errorf("read: %v", err)
			}
			done <- "read"
		}()
		synctest.Wait()
		go func() {
			if err := r.Write(context.Background(), "l", "d1", "p0", driver.Int64Value(7)); err != nil {
				t.Errorf("write: %v", err)
			}
			done <- "write"
		}()
		synctest.Wait()
		begun := time.Now()
		if first := <-done; first != "write" {
			t.Errorf("the %s was first", first)
		}
		<-done
		// what is left of the poll in flight, the write, the read
		if took := time.Since(begun); took > 150*time.Millisecond {
			t.Errorf("both took %v: a poll came between", took)
		}
		if w := d.Writes(); len(w) != 1 || !w[0].Value.Equal(driver.Int64Value(7)) {
			t.Errorf("writes: %v", w)
		}
		if s := r.device("l", "d1"); s.Writes != 1 || s.WriteFailures != 0 {
			t.Errorf("status: %+v", s)
		}
	})
}

func TestPipelining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		r.fake.Link("l").SetWindow(4)
		l := link("l", 8, table(1))
		l.Classes[0].Period = 0
		var devices []*drivertest.FakeDevice
		for i := range 8 {
			d := r.set("l", fmt.Sprintf("d%d", i+1), 1)
			d.Delay(100 * time.Millisecond)
			devices = append(devices, d)
		}
		r.apply(l)
		sleep(10*time.Second + time.Millisecond)
		total := 0
		for _, d := range devices {
			polls := times(d.Polls())
			total += len(polls)
			for i := 1; i < len(polls); i++ {
				if polls[i].Sub(polls[i-1]) < 100*time.Millisecond {
					t.Fatalf("two calls at a time on one device")
				}
			}
			if len(polls) < 45 || len(polls) > 55 {
				t.Errorf("%d polls of one of the devices, want about 50", len(polls))
			}
		}
		if total < 398 || total > 408 {
			t.Errorf("%d polls in 10 s, four at a time of 100 ms", total)
		}
	})
}

func TestPipelinedPeriods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		r.fake.Link("l").SetWindow(8)
		l := link("l", 20, table(1))
		var devices []*drivertest.FakeDevice
		for i := range 20 {
			d := r.set("l", fmt.Sprintf("d%d", i+1), 1)
			d.Delay(20 * time.Millisecond)
			devices = append(devices, d)
		}
		r.apply(l)
		sleep(20 * time.Second)
		for i, d := range devices {
			polls := times(d.Polls())
			if worst := shifts(polls, polls[0].Truncate(50*time.Millisecond), time.Second); worst > 40*time.Millisecond || len(polls) < 19 {
				t.Errorf("d%d: %d polls, up to %v late", i+1, len(polls), worst)
			}
		}
	})
}
