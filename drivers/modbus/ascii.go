package modbus

import (
	"bytes"
	"encoding/hex"

	"github.com/goburrow/modbus"

	"github.com/fieldloom/fieldloom/core/driver"
)

// ascii is the framing of a serial line in text (Modbus over Serial Line V1.02, clause 2.5.2): a
// colon, unit, PDU and LRC as two hexadecimal digits a byte, CR, LF.
type ascii struct {
	lenience
	echo
}

var _ framing = ascii{}

const (
	maxASCII = 513 // clause 2.5.2.1
	minASCII = 9   // a colon, unit, function, LRC, CR, LF
)

func (ascii) packager(unit byte) modbus.Packager {
	handler := modbus.NewASCIIClientHandler("") // its packager; it never opens a port
	handler.SlaveId = unit
	return handler
}

func (ascii) stamp([]byte, uint16) {}

func (a ascii) next(b, asked []byte) (skip, size int, err error) {
	if len(asked) < minASCII {
		return len(b), 0, nil // nobody waits
	}
	skip, size = a.find(b, asked, false)
	return skip, size, nil
}

// last is next where nothing more will come: what may have been an echo was the answer.
func (a ascii) last(b, asked []byte) (skip, size int) {
	if len(asked) < minASCII || !a.unknown() {
		return 0, 0
	}
	return a.find(b, asked, true)
}

func (a ascii) find(b, asked []byte, last bool) (skip, size int) {
	mirror := mirrors(a.function(asked))
	for at := a.size(asked); at < len(b); {
		start, n := asciiFrame(b[at:])
		if n == 0 {
			break
		}
		at += start
		switch {
		case !a.answers(b[at:at+n], asked):
		case !last && a.doubtful(b[:at], b[at:at+n], asked):
		default:
			a.learn(b[:at], asked, true, mirror)
			return at, n
		}
		at += n
	}
	a.learn(b, asked, false, mirror)
	return max(0, len(b)-2*maxASCII), 0
}

// asciiFrame finds the first frame in b, from its colon to its line feed. A colon begins a new
// one, whatever was cut off before it (clause 2.5.2.1). A size of 0: there is none.
func asciiFrame(b []byte) (start, size int) {
	end := bytes.Index(b, []byte("\r\n"))
	if end < 0 {
		return 0, 0
	}
	start = bytes.LastIndexByte(b[:end], ':')
	if start < 0 {
		return end, 2 // noise
	}
	return start, end + 2 - start
}

// stranger is the unit that has answered instead of the one that was asked.
func (a ascii) stranger(b, asked []byte) (unit byte, ok bool) {
	if len(asked) < minASCII {
		return 0, false
	}
	every := ascii{lenience: lenience{unit: true}}
	for at := 0; at < len(b); {
		skip, size := every.find(b[at:], asked, true)
		if size == 0 {
			return 0, false
		}
		if frame := b[at+skip : at+skip+size]; every.unit(frame) != every.unit(asked) {
			return every.unit(frame), true
		}
		at += skip + size
	}
	return 0, false
}

// answers reports whether a frame is a whole one, of the unit and the function that were asked.
// A request that was heard is no answer: that of a read has another size.
func (a ascii) answers(frame, asked []byte) bool {
	if len(frame) < minASCII || len(frame) > maxASCII {
		return false
	}
	raw, err := hex.DecodeString(string(frame[1 : len(frame)-2]))
	if err != nil || lrc(raw) != 0 {
		return false
	}
	want, err := hex.DecodeString(string(asked[1 : len(asked)-2]))
	if err != nil || raw[0] != want[0] && !a.lenience.unit {
		return false
	}
	// In RTU a checksum is a byte longer.
	raw, want = append(raw, 0), append(want, 0)
	return len(raw) >= minRTU && rtu{lenience: a.lenience}.sizeAt(raw, want) == len(raw)
}

// lrc is the sum of the bytes, 0 with the LRC among them (clause 6.2.1).
func lrc(b []byte) (sum byte) {
	for _, c := range b {
		sum += c
	}
	return sum
}

func (ascii) id([]byte) (uint16, bool) { return 0, true }

func (ascii) unit(frame []byte) byte { return byteAt(frame, 1) }

func (ascii) function(frame []byte) byte { return byteAt(frame, 3) }

// byteAt is the byte that two digits are.
func byteAt(frame []byte, at int) byte {
	var b [1]byte
	if len(frame) < at+2 {
		return 0
	}
	_, _ = hex.Decode(b[:], frame[at:at+2]) // what is no number is no function either
	return b[0]
}

func (a ascii) check(adu, answer []byte) error {
	raw, err := hex.DecodeString(string(answer[1 : len(answer)-2]))
	if err != nil || len(raw) < 3 {
		return driver.Errorf(driver.Protocol, "an answer that is no frame of Modbus ASCII")
	}
	if unit := a.unit(adu); a.lenience.unit && raw[0] != unit {
		raw[0], raw[len(raw)-1] = unit, raw[len(raw)-1]+raw[0]-unit
		copy(answer[1:], bytes.ToUpper([]byte(hex.EncodeToString(raw))))
	}
	return checkFunction(a.function(adu), raw[1:len(raw)-1])
}

func (ascii) answerSize(request *modbus.ProtocolDataUnit) int { return 7 + 2*answerData(request) }

func (ascii) trim(frame, _ []byte) []byte { return frame }

func (ascii) serial() bool { return true }
