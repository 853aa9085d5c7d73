package supervise_test

import (
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/internal/host"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
)

// teller sends events as a process with links does, and has the lines that come of them.
type teller struct {
	t   *testing.T
	r   *rig
	to  host.Handler
	log syncBuffer
}

// newTeller has links l0, l1 and so on, with devices m00, m01 and so on each.
func newTeller(t *testing.T, links, devices int) *teller {
	w := &teller{t: t}
	w.r = newRig(t, func(o *supervise.Options) {
		o.Log = slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelInfo}))
	})
	w.r.beats = true
	s := &control.State{Revision: 1}
	for i := range links {
		l := control.Link{Name: fmt.Sprintf("l%d", i)}
		for j := range devices {
			l.Devices = append(l.Devices, control.Device{Name: fmt.Sprintf("m%02d", j)})
		}
		s.Links = append(s.Links, l)
	}
	w.r.want(supervise.Desired{State: s})
	w.to = (<-w.r.starts).attachment().to
	synctest.Wait()
	return w
}

func (w *teller) down(link, device, cause string, failures uint64) {
	w.to.Event(control.Event{Link: link, Device: device, Condition: control.Down, Failures: failures,
		Cause: driver.Errorf(driver.NotConnected, "%s", cause)})
}

func (w *teller) up(link, device string, failures uint64) {
	w.to.Event(control.Event{Link: link, Device: device, Condition: control.Up, Failures: failures})
}

var lineHead = regexp.MustCompile(`(?m)^time=\S+ level=(\S+) msg=(.*) driver=fake `)

// want compares the lines since the last call.
func (w *teller) want(want ...string) {
	w.t.Helper()
	synctest.Wait()
	text := strings.ReplaceAll(w.log.String(), ` do="look at its power, its cable and the address that it is configured with"`, "")
	text = strings.ReplaceAll(text, "for=1m4s", "for=1m3s") // the next look
	w.log.Reset()
	var got []string
	for line := range strings.Lines(text) {
		if lineHead.MatchString(line) {
			got = append(got, strings.TrimSpace(lineHead.ReplaceAllString(line, "$1 $2 ")))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("lines (-want +got):\n%s", diff)
	}
}

// told runs a test with a teller.
func told(t *testing.T, links, devices int, test func(*teller)) {
	synctest.Test(t, func(t *testing.T) {
		w := newTeller(t, links, devices)
		defer w.r.s.Close(false)
		test(w)
	})
}

// A link of 50 devices that goes down and comes back is one line each.
func TestLinkThatIsDownIsOneLine(t *testing.T) {
	told(t, 1, 50, func(w *teller) {
		w.to.Event(control.Event{Link: "l0", Device: "m07", Condition: control.Degraded, Cause: driver.Errorf(driver.Timeout, "no answer")})
		w.down("l0", "m08", "no answer", 3)
		w.down("l0", "", "read: EOF", 0)
		for i := range 50 {
			w.down("l0", fmt.Sprintf("m%02d", i), "read: EOF", 0)
		}
		time.Sleep(100 * time.Millisecond)
		for n := range 5 {
			w.down("l0", "", "connect: refused", uint64(n+1))
			for i := range 50 {
				w.down("l0", fmt.Sprintf("m%02d", i), "connect: refused", 0)
			}
		}
		w.want()
		time.Sleep(5 * time.Second)
		w.want(`WARN "link is down" link=l0 code=not-connected err="connect: refused" devices=50 for=3s attempts=5`)
		time.Sleep(25 * time.Second)
		w.up("l0", "", 9)
		for i := range 50 {
			w.up("l0", fmt.Sprintf("m%02d", i), 0)
		}
		time.Sleep(time.Hour)
		w.want(`INFO "link is up again" link=l0 for=30s attempts=9`)
	})
}

// What lasts is counted and told at growing intervals; another cause has its own line, and
// other numbers are no other cause.
func TestTroubleThatLastsIsTold(t *testing.T) {
	told(t, 1, 2, func(w *teller) {
		w.down("l0", "", "connect from port 1000: refused", 1)
		time.Sleep(10 * time.Second)
		w.want(`WARN "link is down" link=l0 code=not-connected err="connect from port 1000: refused" devices=2 for=3s attempts=1`)
		for n := range uint64(8) {
			w.down("l0", "", fmt.Sprintf("connect from port %d: refused", 2000+n), 2+n)
		}
		time.Sleep(50 * time.Minute)
		w.want(`WARN "link is still down" link=l0 code=not-connected err="connect from port 2007: refused" devices=2 for=1m3s attempts=9`,
			`WARN "link is still down" link=l0 code=not-connected err="connect from port 2007: refused" devices=2 for=11m3s attempts=9`)
		time.Sleep(3 * time.Hour)
		w.want(`WARN "link is still down" link=l0 code=not-connected err="connect from port 2007: refused" devices=2 for=1h11m3s attempts=9`,
			`WARN "link is still down" link=l0 code=not-connected err="connect from port 2007: refused" devices=2 for=2h11m3s attempts=9`,
			`WARN "link is still down" link=l0 code=not-connected err="connect from port 2007: refused" devices=2 for=3h11m3s attempts=9`)
		w.down("l0", "", "no route to host", 200)
		time.Sleep(10 * time.Second)
		w.want(`WARN "link is down for another cause" link=l0 code=not-connected err="no route to host" devices=2 for=3h50m13s attempts=200`)
		for range 100 { // both by turns are known
			w.down("l0", "", "connect from port 3: refused", 201)
			time.Sleep(4 * time.Second)
			w.down("l0", "", "no route to host", 202)
			time.Sleep(4 * time.Second)
		}
		w.want()
	})
}

// Many links that are down have their lines, and one for all of them later.
func TestWideOutageIsSummedUp(t *testing.T) {
	told(t, 300, 3, func(w *teller) {
		for i := range 300 {
			w.down(fmt.Sprintf("l%d", i), "", "refused", 1)
		}
		time.Sleep(10 * time.Second)
		w.log.Reset()
		time.Sleep(time.Minute)
		w.want(`WARN "links are still down" count=300 links="l0, l1, l10, l100, l101, ..." devices=900 for=1m3s attempts=300 code=not-connected err=refused`)
	})
}

// A hundred units behind one gateway go down and come back together.
func TestDevicesThatFallTogetherAreOneLine(t *testing.T) {
	told(t, 1, 100, func(w *teller) {
		w.up("l0", "", 0)
		for i := range 100 {
			w.down("l0", fmt.Sprintf("m%02d", i), fmt.Sprintf("unit %d: no answer", i), 3)
		}
		time.Sleep(50 * time.Second)
		w.want(`WARN "devices are down" link=l0 count=100 devices="m00, m01, m02, m03, m04, ..." code=not-connected err="unit 0: no answer" for=3s attempts=300`)
		time.Sleep(30 * time.Second)
		w.want(`WARN "devices are still down" link=l0 count=100 devices="m00, m01, m02, m03, m04, ..." code=not-connected err="unit 0: no answer" for=1m3s attempts=300`)
		for i := range 100 {
			w.up("l0", fmt.Sprintf("m%02d", i), 10)
		}
		time.Sleep(time.Hour)
		w.want(`INFO "devices are up again" link=l0 count=100 devices="m00, m01, m02, m03, m04, ..." for=1m20s attempts=1000`)
	})
}

// What goes down and up again and again, as a subscription that ends each time, is counted.
func TestTroubleThatComesAgainIsCounted(t *testing.T) {
	for what, device := range map[string]string{"link": "", "device": "m00"} {
		t.Run(what, func(t *testing.T) {
			told(t, 1, 1, func(w *teller) {
				for range 3 * 3600 / 20 {
					w.down("l0", device, "refused", 1)
					time.Sleep(10 * time.Second)
					w.up("l0", device, 1)
					time.Sleep(10 * time.Second)
				}
				synctest.Wait()
				if n := strings.Count(w.log.String(), "\n"); n < 5 || n > 10 {
					t.Errorf("%d lines:\n%s", n, w.log.String())
				}
				w.log.Reset()
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				log := w.log.String()
				if strings.Count(log, "\n") != 1 || !strings.Contains(log, "up again") || !strings.Contains(log, "falls=540") {
					t.Errorf("at the end:\n%s", log)
				}
			})
		})
	}
}

// What lasts for a moment has both lines all the same, and what is taken off line has none.
func TestShortTroubleHasItsLines(t *testing.T) {
	told(t, 1, 2, func(w *teller) {
		w.down("l0", "", "EOF", 0)
		time.Sleep(time.Second)
		w.up("l0", "", 2)
		w.want(`WARN "link is down" link=l0 code=not-connected err=EOF devices=2 for=1s attempts=2`,
			`INFO "link is up again" link=l0 for=1s attempts=2`)
		time.Sleep(2 * time.Hour)
		w.down("l0", "m00", "no answer", 3)
		time.Sleep(time.Second)
		w.up("l0", "m00", 4)
		time.Sleep(time.Hour)
		w.want(`WARN "device is down" link=l0 device=m00 code=not-connected err="no answer" for=1s attempts=4`,
			`INFO "device is up again" link=l0 device=m00 for=1s attempts=4`)
		w.to.Event(control.Event{Link: "l0", Condition: control.Stopped, Cause: driver.Errorf(driver.Denied, control.OfflineText)})
		w.to.Event(control.Event{Link: "l0", Device: "m00", Condition: control.Stopped, Cause: driver.Errorf(driver.Denied, control.OfflineText)})
		time.Sleep(time.Hour)
		w.up("l0", "", 0)
		time.Sleep(time.Hour)
		w.want()
	})
}

// A process that cannot be started is told at growing intervals, and once when it is up.
func TestProcessThatDoesNotStartIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log syncBuffer
		r := newRig(t, func(o *supervise.Options) {
			o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelInfo}))
		})
		r.beats = true
		defer r.s.Close(false)
		var short error = syscall.ENOMEM // no death: it never is in quarantine
		r.fail.Store(&short)
		r.set(1)
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if n := strings.Count(log.String(), "\n"); n < 4 || n > 6 {
			t.Errorf("%d lines in three hours:\n%s", n, log.String())
		}
		log.Reset()
		r.fail.Store(nil)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if s := log.String(); strings.Count(s, "\n") != 1 || !strings.Contains(s, "driver is up again") {
			t.Errorf("at its start:\n%s", s)
		}
	})
}
