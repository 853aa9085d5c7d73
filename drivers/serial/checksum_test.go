package serial

import (
	"strings"
	"testing"
)

// The check values of the catalogue of parametrised CRC algorithms: the sums of "123456789".
func TestChecksumsOfTheCatalogue(t *testing.T) {
	const digits = "123456789"
	for name, c := range crcs {
		if got := c.of([]byte(digits)); got != c.check {
			t.Errorf("%s is %X, want %X", name, got, c.check)
		}
	}
	for name, want := range map[string]uint64{"xor": 0x31, "sum8": 0xDD, "sum16": 0x1DD, "lrc": 0x23, "crc32": 0xCBF43926, "crc32c": 0xE3069283} {
		c, err := newChecksum(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.sum([]byte(digits)); got != want {
			t.Errorf("%s is %X, want %X", name, got, want)
		}
	}
}

// A frame with each sum is right, and any byte of it that changes makes it wrong.
func TestEverySumFindsAChangedByte(t *testing.T) {
	names := []string{"xor", "sum8", "sum16", "lrc", "crc32", "crc32c"}
	for name := range crcs {
		names = append(names, name)
	}
	for _, name := range names {
		for _, form := range []string{formBinary, formHex} {
			c, err := (&checksumSettings{Type: name, Form: form}).compile(0)
			if err != nil {
				t.Fatal(err)
			}
			data := []byte("\x02+0012.50 kg\x03")
			frame := append(append([]byte{}, data...), c.written(data)...)
			if _, wrong := c.verify(frame); wrong != "" {
				t.Errorf("%s %s: a sound frame: %s", name, form, wrong)
			}
			for i := range frame {
				frame[i] ^= 0x04
				if _, wrong := c.verify(frame); !strings.Contains(wrong, name) {
					t.Errorf("%s %s: byte %d changed: %q", name, form, i, wrong)
				}
				frame[i] ^= 0x04
			}
		}
	}
}

// written is a sum as it stands in a frame.
func (c *checksum) written(data []byte) []byte {
	n := c.sum(data)
	b := make([]byte, c.size)
	for i := range b {
		at := len(b) - 1 - i
		if c.little {
			at = i
		}
		b[at] = byte(n >> (8 * i))
	}
	if !c.text {
		return b
	}
	const digits = "0123456789ABCDEF"
	var text []byte
	for _, x := range b {
		text = append(text, digits[x>>4], digits[x&15])
	}
	return text
}

func TestSumsOfSentencesAndTelegrams(t *testing.T) {
	for _, c := range []struct{ name, frame, content, wrong string }{
		{"nmea", "$GPGLL,5300.97914,N,00259.98174,E,125926,A*28", "$GPGLL,5300.97914,N,00259.98174,E,125926,A", ""},
		{"nmea", "xx!AIVDM,1,1,,B,177KQJ5000G?tO`K>RA1wUbN0TKH,0*5C", "!AIVDM,1,1,,B,177KQJ5000G?tO`K>RA1wUbN0TKH,0", ""},
		{"nmea", "$GPGLL,5300.97914,N,00259.98174,E,125926,A*29", "", `"29" stands in the frame, and 28 is that of its bytes`},
		{"nmea", "$GPGLL,5300.97914,N", "", "the frame has none"},
		{"nmea", "$GPGLL*2", "", "the frame has none"},
		{"nmea", "*28", "", "the frame has none"},
		{"nmea", "$GPRMC,1815$GPGLL,5300.97914,N,00259.98174,E,125926,A*28", "$GPGLL,5300.97914,N,00259.98174,E,125926,A", ""},
		{"p1", "/ISk5\\2MT382-1000\r\n\r\n!EF2F", "", "stands in the frame"},
		{"p1", "no telegram", "", "the frame has none"},
		{"zero8", "\x01\x02\xFD", "\x01\x02\xFD", ""},
		{"zero8", "\x01\x02\xFE", "", "the sum of all bytes is 1"},
	} {
		sum, err := newChecksum(c.name)
		if err != nil {
			t.Fatal(err)
		}
		content, wrong := sum.verify([]byte(c.frame))
		if c.wrong == "" && (wrong != "" || string(content) != c.content) || c.wrong != "" && !strings.Contains(wrong, c.wrong) {
			t.Errorf("%s of %q: %q, %q", c.name, c.frame, content, wrong)
		}
	}
}
