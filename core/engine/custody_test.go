package engine

import (
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// TestCustody follows a link from hand to hand.
func TestCustody(t *testing.T) {
	now := 1000 * second
	c := custody{held: true, kept: []byte("own")}
	if _, taken, _ := c.hold(true, nil, now); taken || !c.held {
		t.Errorf("held again: %+v", c)
	}
	theirs := &handLink{At: now - second, Shift: 7, Kept: []byte("theirs")}
	h, taken, fresh := c.hold(false, theirs, now)
	if h != theirs || !taken || !fresh || c.held || c.shift != 7 || string(c.kept) != "theirs" {
		t.Errorf("taken from another process: %+v, %v, %v: %+v", h, taken, fresh, c)
	}
	if _, taken, _ := c.hold(false, &handLink{Shift: 99}, now); taken || c.shift != 7 {
		t.Errorf("a hand-off to who has the link changed it: %+v", c)
	}
	c.hold(true, nil, now)
	c.restAt = now
	calls := 0
	devices := func() []handDevice { calls++; return []handDevice{{Name: "d"}} }
	own := c.handOver("l", devices)
	if again := c.handOver("l", devices); again != own || calls != 1 || !own.own || own.Shift != 7 || own.At != now {
		t.Errorf("handed over %+v, in %d calls", own, calls)
	}
	c.kept = []byte("since")
	if h, taken, fresh := c.hold(false, nil, now+second); h != own || !taken || !fresh || string(c.kept) != "since" {
		t.Errorf("taken back: %+v, %v, %v: %+v", h, taken, fresh, c)
	}
}

// TestCustodyIsFreshForAWhile takes hand-offs of other times.
func TestCustodyIsFreshForAWhile(t *testing.T) {
	now := 1000 * second
	for off, want := range map[time.Duration]bool{
		0: true, maxSwitch: true, -maxSwitch: true, maxSwitch + 1: false, -maxSwitch - 1: false,
	} {
		c := custody{held: true}
		if _, _, fresh := c.hold(false, &handLink{At: now + int64(off)}, now); fresh != want {
			t.Errorf("%v from now: fresh is %v", off, fresh)
		}
	}
	c := custody{held: true}
	if h, taken, fresh := c.hold(false, nil, now); h != nil || !taken || fresh {
		t.Errorf("without a hand-off: %v, %v, %v", h, taken, fresh)
	}
}

func TestCustodyKeeps(t *testing.T) {
	var c custody
	if fault := c.keep([]byte("a"), nil); fault != nil || string(c.kept) != "a" {
		t.Errorf("%v: %q", fault, c.kept)
	}
	if fault := c.keep(make([]byte, driver.MaxKept+1), nil); fault == nil || string(c.kept) != "a" {
		t.Errorf("too much: %v", fault)
	}
	if fault := c.keep([]byte("b"), driver.Errorf(driver.Timeout, "slow")); fault == nil || string(c.kept) != "a" {
		t.Errorf("after a fault: %v", fault)
	}
}
