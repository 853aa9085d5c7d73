package engine_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/engine"
)

func TestScaleAndBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 2)
		d.Set("a0", driver.Uint64Value(1234))
		r.apply(link("l", 1, table(2, func(i int, p *control.Point) {
			if i == 0 {
				p.Scale, p.Offset, p.Min, p.Max = ptr(0.1), ptr(-40), ptr(-40), ptr(100)
			}
		})))
		sleep(1100 * time.Millisecond)
		r.take(true)
		if s := r.of(1); !s[0].Value.Equal(driver.Float64Value(1234*0.1 - 40)) {
			t.Errorf("scaled value is %v", s[0].Value)
		}
		if s := r.of(2); !s[0].Value.Equal(driver.Int64Value(1)) {
			t.Errorf("a value without a scale is %v", s[0].Value)
		}
		got, err := r.Read(t.Context(), "l", "d1", []string{"p1", "p0"})
		if err != nil || len(got) != 2 || got[0].Point != "p1" || !got[1].Value.Equal(driver.Float64Value(1234*0.1-40)) || got[1].Time.IsZero() {
			t.Errorf("read: %v, %v", got, err)
		}
		for _, v := range []float64{-40, 100, 83.4, 0.1, -39.9, 23.7} {
			if err := r.Write(t.Context(), "l", "d1", "p0", driver.Float64Value(v)); err != nil {
				t.Errorf("write %v: %v", v, err)
			}
			w := d.Writes()
			if n, whole := w[len(w)-1].Value.AsInt64(); !whole {
				t.Errorf("%v was written as %v, not as a whole number", v, w[len(w)-1].Value)
			} else if back := float64(n)*0.1 - 40; back-v > 1e-9 || v-back > 1e-9 {
				t.Errorf("%v was written as %v", v, n)
			}
		}
		writes := len(d.Writes())
		for _, v := range []driver.Value{
			driver.Float64Value(-40.1), driver.Int64Value(101), driver.StringValue("x"), driver.ParseValue("NaN"),
		} {
			if err := r.Write(t.Context(), "l", "d1", "p0", v); driver.CodeOf(err) != driver.BadValue {
				t.Errorf("write %v: %v", v, err)
			}
		}
		if len(d.Writes()) != writes {
			t.Error("a refused value reached the device")
		}
	})
}

// A decimal scale shows decimal values: 2301 times 0.1 is 230.10000000000002.
func TestScaleShowsDecimals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 1)
		r.apply(link("l", 1, table(1, func(_ int, p *control.Point) { p.Scale = ptr(0.1) })))
		sleep(time.Second)
		for raw, want := range map[int64]string{2301: "230.1", 3: "0.3", -7: "-0.7", 0: "0"} {
			d.Set("a0", driver.Int64Value(raw))
			got, err := r.Read(t.Context(), "l", "d1", []string{"p0"})
			if err != nil || len(got) != 1 || got[0].Value.String() != want {
				t.Errorf("%d reads as %v, %v; want %s", raw, got, err, want)
			}
		}
	})
}

func TestCommandsThatCannotBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		r.set("l", "d1", 3)
		r.apply(link("l", 1, table(2, func(i int, p *control.Point) {
			p.Readable, p.Writable = i == 0, i == 1
		})))
		sleep(time.Second)
		read := func(link, device string, points ...string) error {
			_, err := r.Read(t.Context(), link, device, points)
			return err
		}
		for name, test := range map[string]struct {
			err  error
			code driver.Code
			says string
		}{
			"link":       {read("x", "d1", "p0"), driver.NotFound, `no link "x"`},
			"device":     {read("l", "x", "p0"), driver.NotFound, `no device "x"`},
			"point":      {read("l", "d1", "x"), driver.NotFound, `no point "x"`},
			"write-only": {read("l", "d1", "p1"), driver.Denied, "write-only"},
			"read-only":  {r.Write(t.Context(), "l", "d1", "p0", driver.BoolValue(true)), driver.Denied, "access: rw"},
		} {
			if driver.CodeOf(test.err) != test.code || !strings.Contains(test.err.Error(), test.says) {
				t.Errorf("%s: %v", name, test.err)
			}
		}
		entries, err := r.Browse(t.Context(), "l", "d1", "a", 2)
		if err != nil || len(entries) != 2 || entries[1].Address != "a1" {
			t.Errorf("browse: %v, %v", entries, err)
		}
	})
}

func TestWriteIsNotRepeatedAndNotCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 1)
		r.apply(link("l", 1, table(1)))
		sleep(time.Second)
		d.Delay(500 * time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		err := r.Write(ctx, "l", "d1", "p0", driver.Int64Value(9))
		if driver.CodeOf(err) != driver.Timeout || !strings.Contains(err.Error(), "may have been written") {
			t.Errorf("write: %v", err)
		}
		d.Fail(driver.Errorf(driver.Timeout, "no"))
		sleep(20 * time.Second)
		if w := d.Writes(); len(w) > 1 {
			t.Errorf("writes: %v", w)
		}
		d.Fail(nil)
		d.Delay(0)
		sleep(20 * time.Second)
		if err := r.Write(t.Context(), "l", "d1", "p0", driver.Int64Value(10)); err != nil {
			t.Error(err)
		}
	})
}

func TestRequestWithdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 1)
		d.Delay(300 * time.Millisecond)
		l := link("l", 1, table(1))
		l.Classes[0].Period = 0
		r.apply(l)
		sleep(100 * time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := r.Write(ctx, "l", "d1", "p0", driver.Int64Value(9)); driver.CodeOf(err) != driver.Timeout {
			t.Errorf("write: %v", err)
		}
		sleep(5 * time.Second)
		if w := d.Writes(); len(w) != 0 {
			t.Errorf("a write whose caller had gone before it began was made: %v", w)
		}
	})
}

func TestRequestsFailWithTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		release := r.fake.Link("l").Hang("open")
		r.apply(link("l", 1, table(1)))
		synctest.Wait()
		r.fake.Link("l").FailOpen(driver.Errorf(driver.NotConnected, "refused"))
		answer := make(chan error)
		go func() {
			_, err := r.Read(context.Background(), "l", "d1", []string{"p0"})
			answer <- err
		}()
		sleep(time.Second)
		release()
		sleep(13 * time.Second)
		select {
		case err := <-answer:
			if driver.CodeOf(err) != driver.NotConnected && driver.CodeOf(err) != driver.Internal {
				t.Errorf("read: %v", err)
			}
		default:
			t.Fatal("the read was not answered")
		}
	})
}
