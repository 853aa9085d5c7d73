package supervise

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/control"
)

// ackLog keeps the acks that it is sent.
type ackLog []uint64

func (a *ackLog) Ack(sequence uint64)   { *a = append(*a, sequence) }
func (a *ackLog) Done() <-chan struct{} { return nil }
func (a *ackLog) Err() error            { return nil }
func (a *ackLog) Close() error          { return nil }

var _ Attachment = (*ackLog)(nil)

func TestAcksWaitForAStreamAndStartWithTheLatest(t *testing.T) {
	b := ledger{moved: make(chan struct{}, 1)}
	b.ack(1)
	b.ack(2)
	var acks ackLog
	b.acknowledgeBy(&acks)
	b.ack(3)
	b.acknowledgeBy(nil)
	b.ack(4)
	if diff := cmp.Diff(ackLog{2, 3}, acks); diff != "" {
		t.Errorf("acks (-want +got):\n%s", diff)
	}
	if n := b.storedUpTo(); n != 4 {
		t.Errorf("stored up to %d", n)
	}
}

func TestTheLastFrameWasFilledWhenItsNewestSampleWasTaken(t *testing.T) {
	came := time.Unix(1000, 0)
	for name, c := range map[string]struct{ newest, want time.Time }{
		"just before it came": {came.Add(-time.Second), came.Add(-time.Second)},
		"by a clock ahead":    {came.Add(time.Second), came},
		"by a clock behind":   {came.Add(-time.Minute), came},
	} {
		var b ledger
		b.came(1, c.newest.UnixNano(), came)
		b.came(1, 0, came.Add(time.Hour)) // a repetition says nothing
		if got := b.lastFilled(); !got.Equal(c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestSilenceIsTheProcessesOnlyWhileTheSpoolTakesSomething(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := vitals{began: time.Now()}
		v.hear()
		time.Sleep(time.Minute)
		if !v.silentFor(heartbeatLimit) || v.blocked() {
			t.Error("a minute without a sign of life is no silence")
		}
		v.take()
		time.Sleep(time.Minute)
		if v.silentFor(heartbeatLimit) || !v.blocked() {
			t.Error("silence, while a frame is with the spool")
		}
		v.taken()
		if v.silentFor(heartbeatLimit) || v.blocked() {
			t.Error("silence just after a frame was taken")
		}
	})
}

func TestAnEngineStallsOnlyWhereItOnceMadeProgress(t *testing.T) {
	var other, own vitals
	own.beat(1)
	for range stallBeats {
		other.beat(0)
		own.beat(1)
	}
	if other.isStalled() || !own.isStalled() {
		t.Errorf("stalled: %v where it never told progress, %v where it did", other.isStalled(), own.isStalled())
	}
	if own.beat(2); own.isStalled() {
		t.Error("stalled in spite of progress")
	}
}

func TestPaceAdaptsToTheTimeOfAStep(t *testing.T) {
	p := pace(firstPace)
	p.adapt(firstPace-1, 0)
	if p != firstPace {
		t.Errorf("a step that was not full makes it %d", p)
	}
	for range 10 {
		p.adapt(int(p), 0)
	}
	if p != mostPace {
		t.Errorf("quick steps make it %d", p)
	}
	for range 10 {
		p.adapt(1, 2*slowStep)
	}
	if p != leastPace {
		t.Errorf("slow steps make it %d", p)
	}
}

func TestDemand(t *testing.T) {
	state := new(control.State)
	for _, c := range []struct {
		name           string
		d              demand
		shards, spares int
		why            string
		over           bool
	}{
		{"nobody has asked yet", demand{}, 0, 0, "no link uses it", false},
		{"prepared", demand{prepared: true}, 1, 0, "", false},
		{"wanted", demand{wanted: true, settled: true, desired: Desired{State: state, Instances: 2, Standby: 1}}, 2, 1, "", false},
		{"too many", demand{wanted: true, desired: Desired{State: state, Instances: 99, Standby: 99}}, maxMembers, maxMembers, "", false},
		{"disabled", demand{wanted: true, desired: Desired{Disabled: "off"}}, 0, 0, "off", false},
		{"no image", demand{wanted: true, missing: "gone"}, 0, 0, "gone", false},
		{"left", demand{settled: true}, 0, 0, "no link uses it", true},
		{"closing", demand{wanted: true, closing: true}, 0, 0, "the gateway is stopping", true},
	} {
		shards, spares := c.d.size()
		if shards != c.shards || spares != c.spares || c.d.stopCause() != c.why || c.d.isOver() != c.over {
			t.Errorf("%s: %d shards, %d spares, %q, over: %v", c.name, shards, spares, c.d.stopCause(), c.d.isOver())
		}
	}
}

func TestWhatIsUnreportedMovesToTheLossOfItsProcess(t *testing.T) {
	var u unreported
	early := time.Unix(1, 0)
	u.add([]*loss{{from: early}})
	u.notePushes(control.Event{Link: "a", Device: "d", Pushes: true})
	u.notePushes(control.Event{Link: "a", Device: "e", Pushes: true})
	u.notePushes(control.Event{Link: "a", Device: "e"})
	own := loss{from: time.Unix(2, 0)}
	u.moveTo(&own)
	if _, does := own.pushes[place{"a", "d"}]; !own.from.Equal(early) || !does || len(own.pushes) != 1 {
		t.Errorf("from %v, devices that send by themselves: %v", own.from, own.pushes)
	}
	if lost, _ := u.take(); len(lost) != 0 {
		t.Error("it would be told twice")
	}
}
