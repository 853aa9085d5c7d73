package simulator

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/simulator/internal/modbus"
	"github.com/fieldloom/fieldloom/simulator/signal"
)

// StandardImage is the image that tests share: `slot`, an uint32 at holding:0, and uint16
// registers `r2`, `r3` ... up to holding:registers-1 that count up, each at its own pace, the
// even ones by steps and the odd ones as ramps.
func StandardImage(registers int) *Image {
	img := &Image{
		Points: []Point{{Name: "slot", Address: "holding:0", Type: "uint32", Signal: signal.Slot()}},
		Ranges: []string{fmt.Sprintf("holding:0-%d", max(registers, 2)-1)},
	}
	for i := 2; i < registers; i++ {
		s := signal.Counter(int64(i)*100, 1, time.Duration(i)*10*time.Millisecond)
		if i%2 == 1 {
			s = signal.Ramp(0, float64(i)*100, time.Duration(i)*time.Second)
		}
		img.Points = append(img.Points, Point{Name: "r" + strconv.Itoa(i), Address: "holding:" + strconv.Itoa(i), Signal: s})
	}
	return img
}

// imageCache compiles each image once.
type imageCache map[*Image]*modbus.Layout

// of returns the layout of a device.
func (c imageCache) of(d *DeviceConfig) (*modbus.Layout, error) {
	if len(d.Points) == 0 {
		return c.layout(d.Image)
	}
	if d.Image != nil {
		return nil, errors.New("a device has an image or points of its own, not both")
	}
	return (&Image{Points: d.Points}).compile()
}

func (c imageCache) layout(img *Image) (*modbus.Layout, error) {
	if l, ok := c[img]; ok {
		return l, nil
	}
	source := img
	if img == nil {
		source = StandardImage(100)
	}
	l, err := source.compile()
	if err != nil {
		return nil, err
	}
	c[img] = l
	return l, nil
}

func (img *Image) compile() (*modbus.Layout, error) {
	points := make([]modbus.Point, 0, len(img.Points))
	for i := range img.Points {
		p, err := img.Points[i].compile()
		if err != nil {
			return nil, fmt.Errorf("point %q: %w", img.Points[i].Name, err)
		}
		points = append(points, p)
	}
	ranges := make(map[modbus.Table][]modbus.Range)
	for _, text := range img.Ranges {
		t, r, err := parseAddresses(text)
		if err != nil {
			return nil, fmt.Errorf("range %q: %w", text, err)
		}
		ranges[t] = append(ranges[t], r)
	}
	illegal := make(map[modbus.Table][]uint16)
	for _, text := range img.Illegal {
		t, r, err := parseAddresses(text)
		if err != nil {
			return nil, fmt.Errorf("illegal %q: %w", text, err)
		}
		for a := int(r.First); a <= int(r.Last); a++ {
			illegal[t] = append(illegal[t], uint16(a))
		}
	}
	return modbus.NewLayout(points, ranges, illegal)
}

func (p *Point) compile() (modbus.Point, error) {
	t, r, err := parseAddresses(p.Address)
	if err != nil {
		return modbus.Point{}, err
	}
	if r.First != r.Last {
		return modbus.Point{}, fmt.Errorf("address %q is a range", p.Address)
	}
	typ := p.Type
	if typ == "" && (t == modbus.Coil || t == modbus.Discrete) {
		typ = "bool"
	}
	kind, err := index("type", typ, modbus.Types())
	if err != nil {
		return modbus.Point{}, err
	}
	order, err := index("order", p.Order, modbus.Orders())
	if err != nil {
		return modbus.Point{}, err
	}
	return modbus.Point{
		Name: p.Name, Table: t, Address: r.First, Type: modbus.Type(kind), Order: modbus.Order(order), Length: p.Length,
		Signal: p.Signal, Writable: p.Writable,
	}, nil
}

// index finds a name in a list; no name is the first.
func index(what, name string, names []string) (int, error) {
	if name == "" {
		return 0, nil
	}
	if i := slices.Index(names, name); i >= 0 {
		return i, nil
	}
	return 0, fmt.Errorf("%s %q is unknown: it is one of %s", what, name, strings.Join(names, ", "))
}

// parseAddresses reads `holding:7` or `holding:7-9`.
func parseAddresses(text string) (modbus.Table, modbus.Range, error) {
	table, numbers, ok := strings.Cut(text, ":")
	t, err := index("table", table, modbus.Tables())
	if !ok || table == "" || err != nil {
		return 0, modbus.Range{}, fmt.Errorf("address %q is not like holding:7 or holding:7-9, with one of the tables %s", text, strings.Join(modbus.Tables(), ", "))
	}
	from, to, isRange := strings.Cut(numbers, "-")
	if !isRange {
		to = from
	}
	first, err := strconv.ParseUint(from, 10, 16)
	if err != nil {
		return 0, modbus.Range{}, fmt.Errorf("address %q: %q is not within 0 to 65535", text, from)
	}
	last, err := strconv.ParseUint(to, 10, 16)
	if err != nil || last < first {
		return 0, modbus.Range{}, fmt.Errorf("address %q: %q is not within %d to 65535", text, to, first)
	}
	return modbus.Table(t), modbus.Range{First: uint16(first), Last: uint16(last)}, nil
}
