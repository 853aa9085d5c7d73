package modbus

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/fieldloom/fieldloom/core/driver"
)

// trim takes the text out of its registers: a zero byte ends it, whatever lies behind,
// and spaces at its end are padding.
func (a *Address) trim(b []byte) []byte {
	b = b[:a.Size]
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return bytes.TrimRight(b, " ")
}

func parseUTF8(a *Address, b []byte) (driver.Value, *driver.Error) {
	text := a.trim(b)
	if !utf8.Valid(text) {
		return driver.Value{}, driver.Errorf(driver.Protocol,
			"the text is not UTF-8: the device sends %s: read it as latin1 if it is that, or as bytes to see it whole", hexadecimal(text))
	}
	return driver.StringValue(string(text)), nil
}

func parseASCII(a *Address, b []byte) (driver.Value, *driver.Error) {
	text := a.trim(b)
	for _, c := range text {
		if c >= utf8.RuneSelf {
			return driver.Value{}, driver.Errorf(driver.Protocol,
				"the text is not ASCII: the device sends %s: read it as string (UTF-8) or latin1 if it is that", hexadecimal(text))
		}
	}
	return driver.StringValue(string(text)), nil
}

// decodeLatin1 takes ISO 8859-1, whose 256 characters are the first of Unicode.
func decodeLatin1(a *Address, b []byte) driver.Value {
	text := a.trim(b)
	out := make([]byte, 0, len(text)+8)
	for _, c := range text {
		out = utf8.AppendRune(out, rune(c))
	}
	return driver.StringValue(string(out))
}

func encodeText(a Address, b []byte, v driver.Value) error {
	if v.Kind() != driver.KindString {
		return badValue(a, v, "text")
	}
	text, err := a.charset(v.Str())
	switch {
	case err != nil:
		return err
	case len(text) > int(a.Size):
		return driver.Errorf(driver.BadValue, "text of %d bytes does not fit %d", len(text), a.Size)
	case bytes.IndexByte(text, 0) >= 0:
		return driver.Errorf(driver.BadValue, "text with a zero byte cannot be written: a zero byte ends it")
	}
	copy(b, text)
	return nil
}

// charset brings text into the character set of the address.
func (a *Address) charset(text string) ([]byte, error) {
	highest := map[Type]rune{ASCII: 0x7F, Latin1: 0xFF, String: utf8.MaxRune}[a.Type]
	if i := strings.IndexFunc(text, func(r rune) bool { return r > highest }); i >= 0 {
		r, _ := utf8.DecodeRuneInString(text[i:])
		return nil, driver.Errorf(driver.BadValue, "%q cannot be written as %s, which does not have it", r, typeNames[a.Type])
	}
	if !utf8.ValidString(text) {
		return nil, driver.Errorf(driver.BadValue, "the text is not UTF-8: %s", hexadecimal([]byte(text)))
	}
	if a.Type != Latin1 {
		return []byte(text), nil
	}
	out := make([]byte, 0, len(text))
	for _, r := range text {
		out = append(out, byte(r))
	}
	return out, nil
}
