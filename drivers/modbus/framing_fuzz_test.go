package modbus

import (
	"bytes"
	"encoding/hex"
	"slices"
	"testing"
)

// crcBitwise is the CRC as clause 6.2.2 of Modbus over Serial Line V1.02 describes it.
func crcBitwise(b []byte) (crc uint16) {
	crc = 0xFFFF
	for _, c := range b {
		crc ^= uint16(c)
		for range 8 {
			odd := crc&1 != 0
			if crc >>= 1; odd {
				crc ^= 0xA001
			}
		}
	}
	return crc
}

// seed gives a fuzz target every exchange, alone and between rubbish.
func seed(f *testing.F, made framing) {
	for i, e := range exchanges {
		answer := encode(f, made, 17, pduOf(f, e.answer))
		f.Add(uint8(i), answer)
		f.Add(uint8(i), slices.Concat(answer[1:], encode(f, made, 17, pduOf(f, e.request)), answer, answer[:2]))
	}
}

// FuzzRTU looks whether whatever is found is an answer: of the unit and the function, as long as
// was asked, with its CRC. What arrives in pieces is found too.
func FuzzRTU(f *testing.F) {
	seed(f, rtu{})
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		e := exchanges[int(which)%len(exchanges)]
		codec := rtu{echo: newEcho(which >= 128, false)}
		asked := encode(t, codec, 17, pduOf(t, e.request))
		for n := range len(b) + 1 {
			skip, size, err := codec.next(b[:n], asked)
			if err != nil || skip < 0 || size < 0 || skip+size > n {
				t.Fatalf("%d+%d of %d bytes, %v", skip, size, n, err)
			}
			if size == 0 {
				skip, size = codec.last(b[:n], asked)
			}
			if size == 0 {
				continue
			}
			frame := b[skip : skip+size]
			crc := crcBitwise(frame[:size-2])
			if frame[0] != 17 || frame[1]&^exceptionBit != asked[1] || frame[size-2] != byte(crc) || frame[size-1] != byte(crc>>8) {
				t.Fatalf("% X is no answer to % X", frame, asked)
			}
			if frame[1] < 5 && size != 5+int(frame[2]) || frame[1] == 3 && frame[2] != 6 || frame[1]&exceptionBit != 0 && size != 5 {
				t.Fatalf("% X is no answer to % X", frame, asked)
			}
			break
		}
		codec.stranger(b, asked)
	})
}

// FuzzASCII is FuzzRTU for text.
func FuzzASCII(f *testing.F) {
	seed(f, ascii{})
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		e := exchanges[int(which)%len(exchanges)]
		codec := ascii{echo: newEcho(which >= 128, false)}
		asked := encode(t, codec, 17, pduOf(t, e.request))
		for n := range len(b) + 1 {
			skip, size, err := codec.next(b[:n], asked)
			if err != nil || skip < 0 || size < 0 || skip+size > n {
				t.Fatalf("%d+%d of %d bytes, %v", skip, size, n, err)
			}
			if size == 0 {
				skip, size = codec.last(b[:n], asked)
			}
			if size == 0 {
				continue
			}
			frame := b[skip : skip+size]
			raw, err := hex.DecodeString(string(frame[1 : size-2]))
			var sum byte
			for _, c := range raw {
				sum += c
			}
			if err != nil || frame[0] != ':' || !bytes.HasSuffix(frame, []byte("\r\n")) || sum != 0 || raw[0] != 17 || raw[1]&^exceptionBit != codec.function(asked) {
				t.Fatalf("%q is no answer to %q", frame, asked)
			}
			if raw[1] < 5 && len(raw) != 4+int(raw[2]) || raw[1] == 3 && raw[2] != 6 || raw[1]&exceptionBit != 0 && len(raw) != 4 {
				t.Fatalf("%q is no answer to %q", frame, asked)
			}
			if err := codec.check(asked, slices.Clone(frame)); err != nil {
				t.Fatalf("%q: %v", frame, err)
			}
			break
		}
		codec.stranger(b, asked)
	})
}

// FuzzMBAP takes frames off a stream: each is as long as its header says, and none is taken
// after an error.
func FuzzMBAP(f *testing.F) {
	seed(f, mbap{})
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		asked := encode(t, mbap{}, 17, pduOf(t, exchanges[int(which)%len(exchanges)].request))
		for rest := b; ; {
			skip, size, err := mbap{}.next(rest, asked)
			if skip != 0 || size > len(rest) || err != nil && size != 0 {
				t.Fatalf("%d+%d of %d bytes, %v", skip, size, len(rest), err)
			}
			if size == 0 {
				return
			}
			frame := slices.Clone(rest[:size])
			if size < headerSize+1 || size > maxFrame || int(frame[4])<<8+int(frame[5]) != size-lengthEnd || frame[2] != 0 || frame[3] != 0 {
				t.Fatalf("% X is no frame", frame)
			}
			(mbap{lenience{trailing: true}}).trim(slices.Clone(frame), asked)
			_ = mbap{}.check(asked, frame) // has to take anything
			rest = rest[size:]
		}
	})
}
