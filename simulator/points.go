package simulator

import (
	"fmt"

	"github.com/fieldloom/fieldloom/simulator/signal"
)

// points is the store of an MQTT or serial device, whose points have a name and no address.
type points struct {
	list   []Point
	byName map[string]int
	held   map[int]signal.Value // written values, which end a signal
	slot   int                  // -1 without one
}

func newPoints(list []Point) (*points, error) {
	p := &points{list: list, byName: make(map[string]int, len(list)), held: make(map[int]signal.Value), slot: -1}
	for i := range list {
		name := list[i].Name
		if _, double := p.byName[name]; double || !isName(name) {
			return nil, fmt.Errorf("point %q: a point has a name of its own, of letters, digits, _, . and -", name)
		}
		if list[i].Address != "" || list[i].Type != "" || list[i].Order != "" || list[i].Length != 0 {
			return nil, fmt.Errorf("point %q: only a Modbus device's points have an address, type, order or length", name)
		}
		p.byName[name] = i
		if !signal.IsSlot(list[i].Signal) {
			continue
		}
		if p.slot >= 0 || list[i].Writable {
			return nil, fmt.Errorf("point %q: a device has one slot, and it is not writable", name)
		}
		p.slot = i
	}
	return p, nil
}

func (p *points) find(point string) (int, bool) {
	i, ok := p.byName[point]
	return i, ok
}

func (p *points) set(point int, v signal.Value, _ moment) { p.held[point] = v }

func (p *points) get(point int, at moment) signal.Value {
	if point == p.slot {
		return signal.Uint(at.slot)
	}
	if v, ok := p.held[point]; ok {
		return v
	}
	if s := p.list[point].Signal; s != nil {
		return s.At(at.elapsed, at.seed)
	}
	return signal.Value{}
}

func (p *points) isSlot(point int) bool { return point == p.slot }

// write is a write from outside: a number where there is a number, anything where there is a text.
func (p *points) write(point int, text string, at moment) (signal.Value, error) {
	name := p.list[point].Name
	if !p.list[point].Writable {
		return signal.Value{}, fmt.Errorf("point %s is not writable", name)
	}
	v := signal.Text(text)
	if !p.get(point, at).IsText() {
		if v = signal.Parse(text); v.IsText() {
			return signal.Value{}, fmt.Errorf("point %s: %q is no number", name, text)
		}
	}
	p.held[point] = v
	return v, nil
}
