package simulator

import (
	"time"

	"github.com/fieldloom/fieldloom/simulator/internal/document"
	"github.com/fieldloom/fieldloom/simulator/signal"
)

// signal reads a signal: `slot`, a constant as it is written, or a mapping with the one key
// that says its kind.
func (l *loader) signal(v document.Value) signal.Signal {
	if !v.IsMapping() {
		text := v.Text()
		if text == "slot" {
			return signal.Slot()
		}
		return signal.Constant(constant(v))
	}
	var made []signal.Signal
	put := func(read func(document.Value) signal.Signal) func(document.Value) {
		return func(v document.Value) { made = append(made, read(v)) }
	}
	ok := v.Fields(map[string]func(document.Value){
		"constant": put(func(v document.Value) signal.Signal { return signal.Constant(constant(v)) }),
		"ramp":     put(ramp),
		"sine":     put(sine),
		"square":   put(square),
		"walk":     put(walk),
		"counter":  put(counter),
		"csv":      put(l.replay),
	})
	if !ok {
		return nil
	}
	if len(made) != 1 {
		v.Errorf("a signal has one kind, not %d", len(made))
		return nil
	}
	return made[0]
}

// constant is a number, a truth, or a text: always a text when it stands in quotes.
func constant(v document.Value) signal.Value {
	text := v.Text()
	if v.Quoted() {
		return signal.Text(text)
	}
	return signal.Parse(text)
}

func ramp(v document.Value) signal.Signal {
	from, to, period := 0.0, 100.0, time.Minute
	v.Fields(map[string]func(document.Value){
		"from":   func(v document.Value) { from = v.Number() },
		"to":     func(v document.Value) { to = v.Number() },
		"period": func(v document.Value) { period = v.Duration() },
	})
	return signal.Ramp(from, to, period)
}

func sine(v document.Value) signal.Signal {
	mean, amplitude, period := 0.0, 1.0, time.Minute
	v.Fields(map[string]func(document.Value){
		"mean":      func(v document.Value) { mean = v.Number() },
		"amplitude": func(v document.Value) { amplitude = v.Number() },
		"period":    func(v document.Value) { period = v.Duration() },
	})
	return signal.Sine(mean, amplitude, period)
}

func square(v document.Value) signal.Signal {
	low, high, period, duty := signal.Int(0), signal.Int(1), time.Minute, 0.5
	v.Fields(map[string]func(document.Value){
		"low":    func(v document.Value) { low = constant(v) },
		"high":   func(v document.Value) { high = constant(v) },
		"period": func(v document.Value) { period = v.Duration() },
		"duty":   func(v document.Value) { duty = v.Number() },
	})
	return signal.Square(low, high, period, duty)
}

func walk(v document.Value) signal.Signal {
	low, high, step, every, seed := 0.0, 100.0, 1.0, time.Second, int64(1)
	v.Fields(map[string]func(document.Value){
		"low":   func(v document.Value) { low = v.Number() },
		"high":  func(v document.Value) { high = v.Number() },
		"step":  func(v document.Value) { step = v.Number() },
		"every": func(v document.Value) { every = v.Duration() },
		"seed":  func(v document.Value) { seed = v.Int(0, 1<<62) },
	})
	return signal.Walk(low, high, step, every, uint64(seed))
}

func counter(v document.Value) signal.Signal {
	start, step, every := int64(0), int64(1), time.Second
	v.Fields(map[string]func(document.Value){
		"start": func(v document.Value) { start = v.Int(-1<<62, 1<<62) },
		"step":  func(v document.Value) { step = v.Int(-1<<62, 1<<62) },
		"every": func(v document.Value) { every = v.Duration() },
	})
	return signal.Counter(start, step, every)
}

// replay reads a CSV file; an error of it stands at its name.
func (l *loader) replay(v document.Value) signal.Signal {
	var at document.Value
	loop, found := false, false
	v.Fields(map[string]func(document.Value){
		"file": func(v document.Value) { at, found = v, true },
		"loop": func(v document.Value) { loop = v.Bool() },
	})
	if !found {
		v.Errorf("csv needs a file")
		return nil
	}
	s, err := signal.Replay(l.file(at), loop)
	if err != nil {
		at.Errorf("%v", err)
		return nil
	}
	return s
}
