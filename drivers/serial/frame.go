package serial

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/drivers/carrier"
)

// terminators end a line that is sent, and one that is received. They are written as one text
// for both, or apart.
type terminators struct {
	Send    string `json:"send"`
	Receive string `json:"receive"`

	given, sendGiven, receiveGiven bool
}

func (t *terminators) UnmarshalJSON(b []byte) error {
	t.given = true
	var both string
	if json.Unmarshal(b, &both) == nil {
		t.Send, t.Receive, t.sendGiven, t.receiveGiven = both, both, true, true
		return nil
	}
	var each struct {
		Send    *string `json:"send"`
		Receive *string `json:"receive"`
	}
	if err := strict(b, &each); err != nil {
		return fmt.Errorf("terminator: %w", err)
	}
	if each.Send != nil {
		t.Send, t.sendGiven = *each.Send, true
	}
	if each.Receive != nil {
		t.Receive, t.receiveGiven = *each.Receive, true
	}
	return nil
}

// strict decodes a JSON value without unknown keys.
func strict(b []byte, dst any) error {
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields()
	return d.Decode(dst)
}

const lineEnd = "\r\n"

// complete fills in what was not given, and checks it. Frames that are no lines have no
// terminator but one that is sent.
func (t *terminators) complete(framed bool, wrong func(key, format string, args ...any)) {
	if framed && t.receiveGiven && t.Receive != t.Send {
		wrong("terminator", "receive: with `frame` that says where what is received ends")
	}
	if !t.sendGiven && !framed {
		t.Send = lineEnd
	}
	if !t.receiveGiven && !framed {
		t.Receive = lineEnd
	}
	if n := len(t.Receive); !framed && (n < 1 || n > 8) {
		wrong("terminator", "%q is not 1 to 8 bytes long", t.Receive)
	} else if n := len(t.Send); n > 8 || n == 0 && !framed && !t.given {
		wrong("terminator", "%q is not 1 to 8 bytes long", t.Send)
	}
}

// hexBytes are bytes that are written in hexadecimal digits, with or without spaces.
type hexBytes []byte

func (h *hexBytes) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("bytes in hexadecimal such as \"02\" expected, not %s", b)
	}
	raw, err := parseHex(s)
	*h = raw
	return err
}

func parseHex(s string) ([]byte, error) {
	head, err := parseHead(s)
	if err != nil {
		return nil, err
	}
	raw := make([]byte, len(head))
	for i, b := range head {
		if b < 0 {
			return nil, fmt.Errorf("%q: ?? stands for any byte, which cannot be sent", s)
		}
		raw[i] = byte(b)
	}
	return raw, nil
}

// parseHead parses bytes in hexadecimal; ?? is any, -1.
func parseHead(s string) ([]int16, error) {
	digits := strings.Join(strings.Fields(s), "")
	if digits == "" || len(digits)%2 != 0 || len(digits) > 2*maxTemplate {
		return nil, fmt.Errorf("%q is no list of bytes with two hexadecimal digits each, such as \"68 11 0A\"", s)
	}
	var head []int16
	for i := 0; i < len(digits); i += 2 {
		if digits[i:i+2] == "??" {
			head = append(head, -1)
			continue
		}
		b, err := strconv.ParseUint(digits[i:i+2], 16, 8)
		if err != nil {
			return nil, fmt.Errorf("%q is no list of bytes with two hexadecimal digits each: %q", s, digits[i:i+2])
		}
		head = append(head, int16(b))
	}
	return head, nil
}

// matchesHead reports whether a frame begins so.
func matchesHead(head []int16, s string) bool {
	if len(s) < len(head) {
		return false
	}
	for i, b := range head {
		if b >= 0 && byte(b) != s[i] {
			return false
		}
	}
	return true
}

// frameSettings are the keys of `frame`.
type frameSettings struct {
	Start    hexBytes          `json:"start"`
	End      hexBytes          `json:"end"`
	After    int               `json:"after"`
	Length   *lengthSettings   `json:"length"`
	Idle     carrier.Duration  `json:"idle"`
	Escape   *escapeSettings   `json:"escape"`
	Subtract *subtractSettings `json:"subtract"`
	Checksum *checksumSettings `json:"checksum"`
	Max      int               `json:"max"`
}

// lengthSettings are a number of bytes, or where the frame says it.
type lengthSettings struct {
	Fixed  int    `json:"-"`
	Offset int    `json:"offset"`
	Size   int    `json:"size"`
	Order  string `json:"order"`
	Adds   int    `json:"adds"`
}

func (l *lengthSettings) UnmarshalJSON(b []byte) error {
	if json.Unmarshal(b, &l.Fixed) == nil {
		return nil
	}
	type plain lengthSettings
	p := plain{Size: 1, Order: bigOrder}
	if err := strict(b, &p); err != nil {
		return fmt.Errorf("length: a number of bytes or where it stands is expected: %w", err)
	}
	*l = lengthSettings(p)
	return nil
}

type escapeSettings struct {
	Byte hexBytes            `json:"byte"`
	XOR  hexBytes            `json:"xor"`
	Map  map[string]hexBytes `json:"map"`
}

type subtractSettings struct {
	Value hexBytes `json:"value"`
	From  int      `json:"from"`
	To    int      `json:"to"`
}

// checksumSettings are a name, or a name with where the sum stands.
type checksumSettings struct {
	Type  string `json:"type"`
	From  int    `json:"from"`
	Tail  *int   `json:"tail"`
	Order string `json:"order"`
	Form  string `json:"form"`
}

const (
	bigOrder    = "big"
	littleOrder = "little"
	formBinary  = "binary"
	formHex     = "hex"
)

func (c *checksumSettings) UnmarshalJSON(b []byte) error {
	if json.Unmarshal(b, &c.Type) == nil {
		return nil
	}
	type plain checksumSettings
	if err := strict(b, (*plain)(c)); err != nil {
		return fmt.Errorf("checksum: a name, or an object with a type is expected: %w", err)
	}
	return nil
}

// compile finds the checksum; tail is how many bytes follow it where nothing is said.
func (c *checksumSettings) compile(tail int) (*checksum, error) {
	sum, err := newChecksum(c.Type)
	if err != nil {
		return nil, err
	}
	if c.From != 0 || c.Tail != nil || c.Order != "" || c.Form != "" {
		if sum.form != nil || sum.zero {
			return nil, fmt.Errorf("%s has its own place in a frame: from, tail, order and form say nothing there", c.Type)
		}
	}
	sum.from, sum.tail = c.From, tail
	if c.Tail != nil {
		sum.tail = *c.Tail
	}
	if sum.from < 0 || sum.tail < 0 {
		return nil, errors.New("from and tail count bytes: use 0 or more")
	}
	switch c.Order {
	case "":
	case bigOrder, littleOrder:
		sum.little = c.Order == littleOrder
	default:
		return nil, fmt.Errorf("order: %q is not big or little", c.Order)
	}
	switch c.Form {
	case "", formBinary:
	case formHex:
		sum.text = true
		sum.little = c.Order == littleOrder
	default:
		return nil, fmt.Errorf("form: %q is not binary or hex", c.Form)
	}
	return sum, nil
}

// compileFrame makes the form of frames of the settings.
func (s *linkSettings) compileFrame(wrong func(key, format string, args ...any)) {
	fail := func(key string, err error) {
		if err != nil {
			wrong(key, "%v", err)
		}
	}
	f := s.Frame
	if f == nil {
		if s.Checksum != nil {
			sum, err := s.Checksum.compile(0)
			fail("checksum", err)
			s.sum = sum
		}
		return
	}
	sums := f.Checksum
	if sums == nil {
		sums = s.Checksum
	} else if s.Checksum != nil {
		wrong("checksum", "frame has one too: leave one of them out")
	}
	form, err := f.compile(s.MaxLine)
	fail("frame", err)
	if sums != nil && err == nil {
		tail := 0
		if f.After == 0 {
			tail = len(f.End)
		}
		form.sum, err = sums.compile(tail)
		fail("frame", err)
	}
	s.form = form
}

const maxIdle = 10 * time.Second

func (f *frameSettings) compile(most int) (*blockForm, error) {
	form := &blockForm{start: f.Start, end: f.End, after: f.After, silence: time.Duration(f.Idle), most: most}
	if f.Max != 0 {
		form.most = f.Max
	}
	ways := 0
	for _, used := range []bool{len(f.End) > 0, f.Length != nil, f.Idle > 0 && len(f.End) == 0 && f.Length == nil} {
		if used {
			ways++
		}
	}
	switch {
	case ways != 1:
		return nil, errors.New("it says how a frame ends in one of three ways: end, length or idle")
	case len(f.Start) > 8 || len(f.End) > 16:
		return nil, errors.New("start has at most 8 bytes, end at most 16")
	case f.After < 0 || f.After > 16 || f.After > 0 && len(f.End) == 0:
		return nil, errors.New("after counts the bytes behind the end: use 1 to 16, with end")
	case form.most < 1 || form.most > maxMaxLine:
		return nil, fmt.Errorf("max: %d is not within 1 and %d", form.most, maxMaxLine)
	case f.Idle < 0 || time.Duration(f.Idle) > maxIdle:
		return nil, fmt.Errorf("idle: %v is not within 0s and %v", time.Duration(f.Idle), maxIdle)
	case f.Length != nil && len(f.Start) == 0 && f.Idle == 0:
		return nil, errors.New("a frame that ends by its length needs a start, or an idle time, by which its begin is found again")
	}
	if err := f.Length.compile(form); err != nil {
		return nil, err
	}
	return form, errors.Join(f.Escape.compile(form), f.Subtract.compile(form))
}

func (l *lengthSettings) compile(form *blockForm) error {
	switch {
	case l == nil:
		return nil
	case l.Fixed != 0:
		form.size = l.Fixed
		if l.Fixed <= len(form.start) || l.Fixed > form.most {
			return fmt.Errorf("length: %d is not more than the start and at most %d", l.Fixed, form.most)
		}
		return nil
	case l.Size < 1 || l.Size > 4 || l.Offset < 0 || l.Offset > 255 || l.Adds < -255 || l.Adds > 255:
		return errors.New("length: size is 1 to 4 bytes, offset 0 to 255, adds -255 to 255")
	case l.Order != bigOrder && l.Order != littleOrder:
		return fmt.Errorf("length: order: %q is not big or little", l.Order)
	}
	form.length = &lengthField{offset: l.Offset, size: l.Size, little: l.Order == littleOrder, adds: l.Adds}
	return nil
}

func (e *escapeSettings) compile(form *blockForm) error {
	if e == nil {
		return nil
	}
	if len(e.Byte) != 1 || len(e.XOR) > 1 || len(e.XOR) == 0 && len(e.Map) == 0 {
		return errors.New("escape: it has one byte, and xor (one byte) or map says what the next byte stands for")
	}
	form.escape = &escape{mark: e.Byte[0], to: make(map[byte]byte)}
	if len(e.XOR) == 1 {
		form.escape.xor = e.XOR[0]
	}
	for _, key := range slices.Sorted(maps.Keys(e.Map)) {
		from, err := parseHex(key)
		if err != nil || len(from) != 1 || len(e.Map[key]) != 1 {
			return fmt.Errorf("escape: map: %q: a byte stands for a byte", key)
		}
		form.escape.to[from[0]] = e.Map[key][0]
	}
	return nil
}

func (s *subtractSettings) compile(form *blockForm) error {
	if s == nil {
		return nil
	}
	if len(s.Value) != 1 || s.From < 0 || s.To < 0 {
		return errors.New("subtract: value is one byte, from and to count bytes from the start and from the end")
	}
	form.shift = &shift{by: s.Value[0], from: s.From, to: s.To}
	return nil
}
