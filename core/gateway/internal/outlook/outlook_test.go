package outlook

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/internal/spool"
)

// A spool that cannot keep what it is to keep is told before it is full, by driver.
func TestTheSpoolsLastingIsTold(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, err := spool.Open(dir, spool.Options{MaxBytes: 64 << 20, MaxAge: 7 * 24 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		o := New(s, nil, slog.New(slog.DiscardHandler))
		o.note(lookAt(s))
		for n := uint64(1); n <= 400; n++ {
			s.Append(spool.Record{Driver: "modbus", Epoch: 1, Sequence: n, Data: make([]byte, 1000)}, nil)
			if n%60 == 0 {
				s.Append(spool.Record{Driver: "mqtt", Epoch: 1, Sequence: n, Data: make([]byte, 10)}, nil)
			}
			if n == 30 {
				if w := o.Warnings(); len(w) > 0 {
					t.Errorf("told of half a minute: %q", w)
				}
			}
			time.Sleep(time.Second)
		}
		w := o.Warnings()
		// 60 MiB at 1,062 bytes a second are 16.5 hours, and mqtt needs next to nothing of it.
		if len(w) != 1 || !strings.Contains(w[0], "of driver modbus at its present rate of 1.0KiB a second, and `spool.keep` is 7.0 days: set `spool.max` to") {
			t.Fatalf("told %q", w)
		}
		var st client.SpoolStatus
		o.Fill(&st)
		if st.Keep != 7*86400 || st.Lasts < 15*3600 || st.Lasts > 17*3600 || len(st.Drivers) != 2 {
			t.Errorf("%+v", st)
		}
		for _, d := range st.Drivers {
			if d.Driver == "modbus" && (d.Lasts < 15*3600 || d.Lasts > 17*3600) || d.Driver == "mqtt" && d.Lasts != 7*86400 {
				t.Errorf("%+v", d)
			}
		}
		if len(o.clock) > 0 {
			t.Errorf("the clock: %+v", o.clock)
		}
	})
}

func TestAStepOfTheClockIsTold(t *testing.T) {
	s, err := spool.Open(t.TempDir(), spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	var log strings.Builder
	o := New(s, nil, slog.New(slog.NewTextHandler(&log, nil)))
	at := time.Now()
	o.note(look{at: at})
	o.note(look{at: at.Add(10 * time.Second)})
	if w := o.Warnings(); len(w) > 0 || log.Len() > 0 {
		t.Errorf("told %q", w)
	}
	o.step(at, time.Second, time.Hour)
	if w := o.Warnings(); len(w) != 1 || !strings.Contains(w[0], "the clock was set by 59m59s") || !strings.Contains(log.String(), "the clock was set") {
		t.Errorf("told %q, logged %s", w, log.String())
	}
}
