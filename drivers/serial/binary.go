package serial

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/fieldloom/fieldloom/core/driver"
)

// A binaryField is where a value stands in a frame that is no text, and how it is written there.
type binaryField struct {
	offset int // of its first byte; below 0: from the end of the frame
	size   int // bytes
	little bool
	form   binaryForm
	low    int // the bits of a number that count, from low on; width 0: all
	width  int
	name   string // of the type, for faults
}

type binaryForm uint8

const (
	formUint binaryForm = iota
	formInt
	formFloat
	formBCD
	formText
)

var (
	binaryType  = regexp.MustCompile(`^(u?int)(8|16|24|32|40|48|56|64)(le)?$|^(float)(32|64)(le)?$|^(bcd|ascii)([1-9][0-9]{0,2})(le)?$`)
	binaryPlace = regexp.MustCompile(`^(-?[0-9]{1,5})(?:\.([0-9]{1,2})(?:-([0-9]{1,2}))?)?$`)
)

// parseBinary parses the place and the type of a field.
func parseBinary(place, name string) (*binaryField, error) {
	t := binaryType.FindStringSubmatch(name)
	if t == nil {
		return nil, fmt.Errorf("type %q is not number, integer, text, bool or hex, nor one of a binary field: uint8 to uint64, int8 to int64, float32, float64, bcdN or asciiN of N bytes, with le for the lowest byte first", name)
	}
	p := binaryPlace.FindStringSubmatch(place)
	if p == nil {
		return nil, fmt.Errorf("%q is no place of a binary field: write the number of its first byte, which counts from 0, and for bits OFFSET.BIT or OFFSET.LOW-HIGH", place)
	}
	f := &binaryField{name: name, little: strings.HasSuffix(name, "le")}
	f.offset, _ = strconv.Atoi(p[1]) // the pattern has seen to it
	switch {
	case t[1] != "":
		bits, _ := strconv.Atoi(t[2])
		f.size = bits / 8
		if t[1] == "int" {
			f.form = formInt
		}
	case t[4] != "":
		bits, _ := strconv.Atoi(t[5])
		f.size, f.form = bits/8, formFloat
	default:
		f.size, _ = strconv.Atoi(t[8])
		if f.form = formText; t[7] == "bcd" {
			f.form = formBCD
		}
		if f.form == formBCD && f.size > 9 || f.size > 255 {
			return nil, fmt.Errorf("type %q: bcd has at most 9 bytes, ascii at most 255", name)
		}
	}
	return f, f.setBits(p[2], p[3])
}

func (f *binaryField) setBits(low, high string) error {
	if low == "" {
		return nil
	}
	if high == "" {
		high = low
	}
	f.low, _ = strconv.Atoi(low)
	top, _ := strconv.Atoi(high)
	if f.form > formInt || top < f.low || top >= 8*f.size {
		return fmt.Errorf("bits %s to %s are none of type %s, whose lowest is 0", low, high, f.name)
	}
	f.width = top - f.low + 1
	return nil
}

// sample takes the value out of a frame.
func (f *binaryField) sample(frame string) driver.Sample {
	at := f.offset
	if at < 0 {
		at += len(frame)
	}
	if at < 0 || at+f.size > len(frame) {
		return driver.Faulted(driver.Errorf(driver.Protocol, "a frame of %d bytes has no %s at byte %d", len(frame), f.name, f.offset))
	}
	raw := []byte(frame[at : at+f.size])
	if f.form == formText {
		return f.text(raw)
	}
	if f.little {
		slices.Reverse(raw)
	}
	if f.form == formBCD {
		return bcd(raw)
	}
	n := uint64(0)
	for _, b := range raw {
		n = n<<8 | uint64(b)
	}
	return f.number(n)
}

func (f *binaryField) number(n uint64) driver.Sample {
	bits := 8 * f.size
	switch {
	case f.form == formFloat && f.size == 4:
		return finite(float64(math.Float32frombits(uint32(n))))
	case f.form == formFloat:
		return finite(math.Float64frombits(n))
	case f.width > 0:
		n, bits = n>>f.low, f.width
		n &= 1<<bits - 1
	}
	if f.width == 1 && f.form == formUint {
		return driver.GoodSample(driver.BoolValue(n == 1))
	}
	if f.form == formInt {
		return driver.GoodSample(driver.Int64Value(int64(n<<(64-bits)) >> (64 - bits)))
	}
	return driver.GoodSample(driver.Uint64Value(n))
}

func finite(v float64) driver.Sample {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return driver.Faulted(driver.Errorf(driver.Protocol, "the field is no number: %v", v))
	}
	return driver.GoodSample(driver.Float64Value(v))
}

// bcd reads two decimal digits a byte.
func bcd(raw []byte) driver.Sample {
	n := uint64(0)
	for _, b := range raw {
		if b>>4 > 9 || b&15 > 9 {
			return driver.Faulted(driver.Errorf(driver.Protocol, "%02X is no number in BCD", raw))
		}
		n = 100*n + uint64(b>>4)*10 + uint64(b&15)
	}
	return driver.GoodSample(driver.Uint64Value(n))
}

func (f *binaryField) text(raw []byte) driver.Sample {
	if f.little {
		slices.Reverse(raw)
	}
	s := strings.TrimRight(strings.TrimRight(string(raw), "\x00"), " ")
	if !utf8.ValidString(s) {
		return driver.Faulted(driver.Errorf(driver.Protocol, "field %s is no text", excerpt(s)))
	}
	return driver.GoodSample(driver.StringValue(s))
}
