package signal_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/fieldloom/fieldloom/simulator/signal"
)

func TestSignals(t *testing.T) {
	record, err := signal.ReadReplay(strings.NewReader("time,value\n0,on\n1.5,-2\n3,2.5\n"), false)
	if err != nil {
		t.Fatal(err)
	}
	loop, err := signal.ReadReplay(strings.NewReader("# a comment\n1,7\n2,8\n4,0\n"), true)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		signal signal.Signal
		want   map[time.Duration]any
	}{
		{"constant", signal.Constant(signal.Text("a")), map[time.Duration]any{0: "a", time.Hour: "a"}},
		{"ramp", signal.Ramp(10, 20, 10*time.Second), map[time.Duration]any{0: 10.0, 5 * time.Second: 15.0, 10 * time.Second: 10.0, 12 * time.Second: 12.0}},
		{"falling ramp", signal.Ramp(1, 0, time.Second), map[time.Duration]any{250 * time.Millisecond: 0.75}},
		{"sine", signal.Sine(5, 2, 4*time.Second), map[time.Duration]any{0: 5.0, time.Second: 7.0, 5 * time.Second: 7.0}},
		{"square", signal.Square(signal.Int(0), signal.Int(1), time.Second, 0.25), map[time.Duration]any{0: int64(1), 249 * time.Millisecond: int64(1), 250 * time.Millisecond: int64(0), time.Second: int64(1)}},
		{"counter", signal.Counter(5, -2, time.Second), map[time.Duration]any{0: int64(5), 999 * time.Millisecond: int64(5), 3 * time.Second: int64(-1)}},
		{"replay", record, map[time.Duration]any{0: "on", 1400 * time.Millisecond: "on", 1500 * time.Millisecond: int64(-2), time.Hour: 2.5}},
		{"looped replay", loop, map[time.Duration]any{0: int64(7), time.Second: int64(7), 2 * time.Second: int64(8), 4 * time.Second: int64(7), 7 * time.Second: int64(8)}},
		{"no period", signal.Ramp(0, 1, 0), map[time.Duration]any{time.Second: 0.0}},
	} {
		for at, want := range c.want {
			if diff := cmp.Diff(want, c.signal.At(at, 1).Any()); diff != "" {
				t.Errorf("%s at %v (-want +got):\n%s", c.name, at, diff)
			}
		}
	}
}

func TestReplayRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "heading only": "t,v\n", "three fields": "0,1,2\n", "time goes back": "1,1\n1,2\n", "no time": "0,1\nlater,2\n", "negative": "-1,1\n1,1\n-2,2\n",
		"quote": "0,\"1\n",
	} {
		if _, err := signal.ReadReplay(strings.NewReader(text), false); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := signal.Replay("nowhere.csv", false); err == nil {
		t.Error("no file: no error")
	}
}

// A walk stays within its limits, moves by about its step, is the same again for the same seeds and another for others.
func TestWalk(t *testing.T) {
	w := signal.Walk(-10, 10, 0.5, time.Second, 3)
	var squares float64
	const steps = 20_000
	last := w.At(0, 1).Float()
	if last != 0 {
		t.Errorf("a walk starts at %v", last)
	}
	for i := 1; i <= steps; i++ {
		v := w.At(time.Duration(i)*time.Second, 1).Float()
		if v < -10 || v > 10 {
			t.Fatalf("step %d: %v", i, v)
		}
		squares += (v - last) * (v - last)
		last = v
	}
	if step := math.Sqrt(squares / steps); step < 0.4 || step > 0.6 {
		t.Errorf("it moves by %v", step)
	}
	at := 1234 * time.Second
	if w.At(at, 1) != signal.Walk(-10, 10, 0.5, time.Second, 3).At(at, 1) {
		t.Error("the same walk differs")
	}
	if w.At(at, 1) == w.At(at, 2) || w.At(at, 1) == signal.Walk(-10, 10, 0.5, time.Second, 4).At(at, 1) {
		t.Error("other seeds give the same walk")
	}
}

// What is written is parsed back as it was.
func TestValueText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var v signal.Value
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			v = signal.Int(rapid.Int64().Draw(t, "int"))
		case 1:
			v = signal.Uint(rapid.Uint64Range(1<<63, math.MaxUint64).Draw(t, "uint"))
		case 2:
			v = signal.Bool(rapid.Bool().Draw(t, "bool"))
		default:
			v = signal.Float(rapid.Float64Range(-1e300, 1e300).Draw(t, "float") + 0.5)
		}
		if back := signal.Parse(v.String()); back.Float() != v.Float() || back.Bits() != v.Bits() {
			t.Errorf("%v comes back as %v", v, back)
		}
	})
}

func TestBits(t *testing.T) {
	for f, want := range map[float64]uint64{
		1.4: 1, 1.5: 2, 2.5: 2, -1.5: math.MaxUint64 - 1, 65537: 65537, math.NaN(): 0, math.Inf(1): math.MaxUint64, math.Inf(-1): 1 << 63, 1e19: 1e19,
	} {
		if got := signal.Float(f).Bits(); got != want {
			t.Errorf("%v has the bits %x, want %x", f, got, want)
		}
	}
}

func FuzzReplay(f *testing.F) {
	f.Add("t,v\n0,1\n1,2\n", true)
	f.Add("0,\"a,b\"\n#\n2,x", false)
	f.Fuzz(func(t *testing.T, text string, loop bool) {
		s, err := signal.ReadReplay(strings.NewReader(text), loop)
		if err != nil {
			return
		}
		for _, at := range []time.Duration{0, time.Millisecond, time.Hour, math.MaxInt64} {
			s.At(at, 0)
		}
	})
}
