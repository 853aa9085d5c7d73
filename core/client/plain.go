package client

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// Obeyed reports whether a character does something to what shows it, a terminal say, beside
// being shown: the control characters, and those that change the direction of text.
func Obeyed(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }

// PlainJSON writes the characters of JSON that are obeyed as their escapes (\u202e), which
// mean the same. JSON has them within texts only, but for the ends of lines. It returns
// text itself where there are none.
func PlainJSON(text []byte) []byte {
	for i := 0; i < len(text); i++ {
		if text[i] >= 0x7f {
			return appendPlain(text[:i:i], text[i:])
		}
	}
	return text
}

func appendPlain(dst, text []byte) []byte {
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if r >= 0x7f && Obeyed(r) {
			dst = fmt.Appendf(dst, `\u%04x`, r) // none is beyond four digits
		} else {
			dst = append(dst, text[:n]...)
		}
		text = text[n:]
	}
	return dst
}
