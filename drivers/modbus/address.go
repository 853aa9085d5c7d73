package modbus

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Table is one of the four tables of a unit (clause 4.3).
type Table uint8

// The tables.
const (
	Coil Table = iota
	Discrete
	Input
	Holding
)

var tableNames = [...]string{"coil", "discrete", "input", "holding"}

func (t Table) String() string { return tableNames[t] }

// bits reports whether the items of the table are single bits.
func (t Table) bits() bool { return t <= Discrete }

func (t Table) writable() bool { return t == Coil || t == Holding }

// Order is the byte order of a value on the wire.
type Order uint8

// The orders. DefaultOrder is the device's.
const (
	DefaultOrder Order = iota
	ABCD
	CDAB
	BADC
	DCBA
)

var orderNames = [...]string{"", "abcd", "cdab", "badc", "dcba"}

func (o Order) String() string { return orderNames[o] }

func parseOrder(s string) (Order, bool) {
	for o, name := range orderNames {
		if s == name && s != "" {
			return Order(o), true
		}
	}
	return DefaultOrder, false
}

// maxSize is the most bytes of a string: the 125 registers that one read takes (clause 6.3).
const maxSize = 2 * maxReadRegisters

// An Address says where a point lies and how its value is made.
type Address struct {
	Table Table
	Start uint16 // the protocol address, from 0
	Type  Type
	Bit   uint8 // of a Bit; the lowest of an Unsigned or Signed
	Width uint8 // of an Unsigned or Signed, in bits
	Size  uint8 // of a text or Bytes, in bytes
	Order Order
}

// items is how many registers or bits the address takes.
func (a Address) items() int {
	if a.Table.bits() {
		return 1
	}
	if size := codecs[a.Type].size; size > 0 {
		return size / 2
	}
	return (int(a.Size) + 1) / 2
}

// String prints the address in its canonical form, which ParseAddress takes.
func (a Address) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d", a.Table, a.Start)
	switch {
	case a.Table.bits():
		return b.String()
	case a.field():
		b.WriteString(a.fieldString())
	case a.Type != Uint16:
		b.WriteString(":" + typeNames[a.Type])
	}
	if a.Size > 0 {
		fmt.Fprintf(&b, ":%d", a.Size)
	}
	if a.Order != DefaultOrder {
		b.WriteString(":" + a.Order.String())
	}
	return b.String()
}

// ParseAddress reads an address; the package comment has the grammar.
func ParseAddress(s string) (Address, error) {
	a, err := parseAddress(s)
	if err != nil {
		return Address{}, fmt.Errorf("address %q: %w", s, err)
	}
	return a, nil
}

func parseAddress(s string) (Address, error) {
	var a Address
	words := strings.Split(s, ":")
	table, ok := parseTable(words[0])
	if ok && len(words) == 1 {
		return a, fmt.Errorf("the number is missing: write it as %s:100", words[0])
	}
	if ok {
		words = words[1:]
	}
	place, bit, hasBit := strings.Cut(words[0], ".")
	var err error
	if ok {
		a.Table = table
		a.Start, err = parseNumber(place)
	} else {
		err = a.parseClassic(place)
	}
	if err != nil {
		return a, err
	}
	if err := a.parsePlace(bit, hasBit); err != nil {
		return a, err
	}
	if err := a.parseType(words[1:], hasBit); err != nil {
		return a, err
	}
	return a, a.check()
}

func parseTable(s string) (Table, bool) {
	for t, name := range tableNames {
		if s == name {
			return Table(t), true
		}
	}
	return 0, false
}

func parseNumber(s string) (uint16, error) {
	digits, base := s, 10
	if hex, ok := strings.CutPrefix(s, "0x"); ok {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(digits, base, 16)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number from 0 to 65535", s)
	}
	return uint16(n), nil
}

func classicTable(digit byte) (Table, bool) {
	switch digit {
	case '0':
		return Coil, true
	case '1':
		return Discrete, true
	case '3':
		return Input, true
	case '4':
		return Holding, true
	default:
		return 0, false
	}
}

// parseClassic reads the data model's numbers (clause 4.4): they start from 1.
func (a *Address) parseClassic(s string) error {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return fmt.Errorf("%q is no table: use holding:, input:, coil: or discrete: and a number, or a classic address like 40101", s)
		}
	}
	if len(s) != 5 && len(s) != 6 {
		return fmt.Errorf("%q has %d digits: a classic address has 5 or 6, and others need a table, as in holding:100", s, len(s))
	}
	table, ok := classicTable(s[0])
	if !ok {
		return fmt.Errorf("a classic address starts with 0 (coil), 1 (discrete input), 3 (input register) or 4 (holding register), not %c", s[0])
	}
	n, err := strconv.Atoi(s[1:])
	if err != nil || n < 1 || n > math.MaxUint16+1 {
		return fmt.Errorf("%q is out of range: what follows the first digit counts from 1 to 65536", s)
	}
	a.Table, a.Start = table, uint16(n-1)
	return nil
}

// parsePlace reads what of the register is meant, and sets the type that it has by default.
func (a *Address) parsePlace(bits string, has bool) error {
	a.Type = Uint16
	switch {
	case a.Table.bits() && has:
		return fmt.Errorf("a %s is one bit and has no bit %q", a.Table, bits)
	case a.Table.bits():
		a.Type = Bool
	case has:
		return a.parseBits(bits)
	}
	return nil
}

// parseType reads [type [size]] [order].
func (a *Address) parseType(words []string, hasBit bool) error {
	if len(words) > 0 {
		_, isOrder := parseOrder(words[0])
		switch {
		case isTypeName(words[0]) || a.Width > 0 && !isOrder:
			if err := a.takeType(words[0], hasBit); err != nil {
				return err
			}
			words = words[1:]
		case !isOrder:
			return fmt.Errorf("%q is neither a type (%s) nor an order (abcd, dcba, badc, cdab)%s", words[0], typeList, near(words[0]))
		}
	}
	if a.sized() {
		if len(words) == 0 {
			return fmt.Errorf("the size is missing: write it as :%s:20 for 20 bytes", typeNames[a.Type])
		}
		n, err := strconv.ParseUint(words[0], 10, 8)
		if err != nil || n < 1 || n > maxSize {
			return fmt.Errorf("size %q is not a number of bytes from 1 to %d", words[0], maxSize)
		}
		a.Size, words = uint8(n), words[1:]
	}
	if len(words) > 0 {
		o, ok := parseOrder(words[0])
		if !ok {
			return fmt.Errorf("%q is no order: use abcd, dcba, badc or cdab", words[0])
		}
		a.Order, words = o, words[1:]
	}
	if len(words) > 0 {
		return fmt.Errorf("%q is too much: nothing follows the order", strings.Join(words, ":"))
	}
	return nil
}

func (a *Address) takeType(name string, hasBit bool) error {
	switch {
	case hasBit:
		return a.setFieldType(name)
	case a.Table.bits() && name != typeNames[Bool]:
		return fmt.Errorf("one bit is a bool, not %s", name)
	case a.setType(name):
		return nil
	default:
		return fmt.Errorf("%s is the type of bits of a register: write them as in holding:100.4-6:%s, or the type as %s16", name, name, name)
	}
}

// near names the types that a misspelt one may stand for: those that it begins, or that
// differ from it by up to two letters.
func near(word string) string {
	word = strings.ToLower(word)
	best, found := 3, []string(nil)
	for name := range strings.FieldsFuncSeq(typeList, func(r rune) bool { return r == ',' || r == ' ' }) {
		plain := strings.TrimSuffix(name, ":SIZE")
		d := distance(word, plain)
		if len(word) > 2 && strings.HasPrefix(plain, word) {
			d = 1
		}
		switch {
		case d < best:
			best, found = d, []string{name}
		case d == best && d < 3:
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		return ""
	}
	return ": did you mean " + strings.Join(found, " or ") + "?"
}

// distance counts the letters to insert, remove or replace. Words that are much longer
// than a type's name are far from it.
func distance(a, b string) int {
	if len(a) > 2*len(b)+2 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

func (a *Address) sized() bool {
	return a.Type == String || a.Type == ASCII || a.Type == Latin1 || a.Type == Bytes
}

func (a *Address) check() error {
	if a.Table.bits() && a.Order != DefaultOrder {
		return fmt.Errorf("a %s is one bit and has no order", a.Table)
	}
	if last := int(a.Start) + a.items() - 1; last > math.MaxUint16 {
		return fmt.Errorf("it ends at %d, the last address is 65535", last)
	}
	return nil
}
