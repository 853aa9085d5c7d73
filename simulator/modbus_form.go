package simulator

import (
	"fmt"

	"github.com/fieldloom/fieldloom/simulator/internal/modbus"
)

// modbusForm is how requests and answers stand on a wire.
type modbusForm interface {
	// next takes the first request from buf and returns how many bytes it takes; 0 says that
	// more are needed. A frame without a PDU is bytes that are no request. After an error the
	// start of a frame cannot be found again.
	next(buf []byte) (modbus.Frame, int, error)

	// begin appends what is before an answer's PDU, and end completes the answer that begins
	// at start.
	begin(to []byte, f modbus.Frame) []byte
	end(answer []byte, start int) []byte

	// bus reports whether several units hear each request: who is not asked keeps silent.
	bus() bool
}

// The words of ServerConfig.Framing.
const (
	framingMBAP  = "mbap"
	framingRTU   = "rtu"
	framingASCII = "ascii"
)

// The words of ServerConfig.Over.
const (
	overTCP = "tcp"
	overUDP = "udp"
	overTLS = "tls"
	overTTY = "tty"
)

func formOf(c *ServerConfig) (modbusForm, error) {
	framing := c.Framing
	if framing == "" {
		if framing = framingMBAP; c.Over == overTTY {
			framing = framingRTU
		}
	}
	switch framing {
	case framingMBAP:
		if c.Over == overTTY {
			return nil, fmt.Errorf("framing mbap is not spoken on a tty: it is rtu or ascii")
		}
		return mbapForm{}, nil
	case framingRTU:
		return rtuForm{}, nil
	case framingASCII:
		return asciiForm{}, nil
	}
	return nil, fmt.Errorf("framing %q is unknown: it is mbap, rtu or ascii", framing)
}

type mbapForm struct{}

func (mbapForm) next(buf []byte) (modbus.Frame, int, error) { return modbus.Next(buf) }

func (mbapForm) begin(to []byte, f modbus.Frame) []byte {
	return modbus.BeginAnswer(to, f.Transaction, f.Unit)
}

func (mbapForm) end(answer []byte, start int) []byte {
	modbus.EndAnswer(answer, start)
	return answer
}

func (mbapForm) bus() bool { return false }

type rtuForm struct{}

func (rtuForm) next(buf []byte) (modbus.Frame, int, error) {
	f, n := modbus.NextRTU(buf)
	return f, n, nil
}

func (rtuForm) begin(to []byte, f modbus.Frame) []byte { return modbus.BeginRTU(to, f.Unit) }
func (rtuForm) end(answer []byte, start int) []byte    { return modbus.EndRTU(answer, start) }
func (rtuForm) bus() bool                              { return true }

type asciiForm struct{}

func (asciiForm) next(buf []byte) (modbus.Frame, int, error) {
	f, n := modbus.NextASCII(buf)
	return f, n, nil
}

func (asciiForm) begin(to []byte, f modbus.Frame) []byte { return modbus.BeginRTU(to, f.Unit) }
func (asciiForm) end(answer []byte, start int) []byte    { return modbus.EndASCII(answer, start) }
func (asciiForm) bus() bool                              { return true }
