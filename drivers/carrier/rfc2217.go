package carrier

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// The bytes of telnet (RFC 854) and of its options for binary transmission (RFC 856), for
// sending at any time (RFC 858) and for the control of a serial port (RFC 2217).
const (
	telnetIAC  = 255
	telnetDont = 254
	telnetDo   = 253
	telnetWont = 252
	telnetWill = 251
	telnetSB   = 250
	telnetSE   = 240

	optionBinary  = 0
	optionGoAhead = 3
	optionPort    = 44

	portBaud      = 1
	portDataSize  = 2
	portParity    = 3
	portStopSize  = 4
	portControl   = 5
	portPurge     = 12
	portAnswers   = 100 // is added in an answer
	controlNoFlow = 1
	controlDTROn  = 8
	controlDTROff = 9
	controlRTSOn  = 11
	controlRTSOff = 12
	purgeReceived = 1
)

// maxSubnegotiation bounds what is kept of an option's answer.
const maxSubnegotiation = 64

// rfc2217Parities by the words of the settings (RFC 2217, section 3).
var rfc2217Parities = map[string]byte{parityOff: 1, "odd": 2, "even": 3, "mark": 4, "space": 5}

// A telnetDecoder takes the control bytes out of what is received. It is fed in pieces of any
// length.
type telnetDecoder struct {
	state byte
	verb  byte
	sub   []byte
	told  func(verb, option byte) // a WILL, WONT, DO or DONT
	ended func(sub []byte)        // a subnegotiation, without its IAC bytes
}

const (
	inData byte = iota
	inIAC
	inVerb
	inSub
	inSubIAC
)

// decode moves what is data of b to its front, and returns how much it is.
func (d *telnetDecoder) decode(b []byte) int {
	n := 0
	for _, c := range b {
		switch d.state {
		case inData:
			if c == telnetIAC {
				d.state = inIAC
				continue
			}
			b[n] = c
			n++
		case inIAC:
			n += d.command(c, b[n:])
		case inVerb:
			d.state = inData
			d.told(d.verb, c)
		case inSub:
			if c == telnetIAC {
				d.state = inSubIAC
			} else if len(d.sub) < maxSubnegotiation {
				d.sub = append(d.sub, c)
			}
		case inSubIAC:
			d.endSub(c)
		}
	}
	return n
}

// command takes the byte behind an IAC; where that is an escaped byte of data it goes to dst.
func (d *telnetDecoder) command(c byte, dst []byte) int {
	d.state = inData
	switch c {
	case telnetIAC:
		dst[0] = c
		return 1
	case telnetWill, telnetWont, telnetDo, telnetDont:
		d.state, d.verb = inVerb, c
	case telnetSB:
		d.state, d.sub = inSub, d.sub[:0]
	}
	return 0
}

func (d *telnetDecoder) endSub(c byte) {
	switch {
	case c == telnetSE:
		d.state = inData
		d.ended(d.sub)
	case len(d.sub) < maxSubnegotiation:
		d.sub = append(d.sub, c)
		d.state = inSub
	default:
		d.state = inSub
	}
}

// escape doubles the bytes of data that would be commands.
func escape(dst, b []byte) []byte {
	for _, c := range b {
		if dst = append(dst, c); c == telnetIAC {
			dst = append(dst, c)
		}
	}
	return dst
}

// A remotePort is a serial port behind a server that speaks RFC 2217.
type remotePort struct {
	*netConn
	decoder telnetDecoder // used by the one that reads

	writing sync.Mutex
	out     []byte

	mu       sync.Mutex
	accepted bool           // the server controls the port
	refused  bool           // or does not
	values   map[byte]int64 // what it set, by command
}

var _ Conn = (*remotePort)(nil)

// openRFC2217 connects to a server, has it take control of its port and set it up, and waits
// until it says that it did.
func openRFC2217(ctx context.Context, a *Address, _ driver.Env) (Conn, error) {
	under, err := dial(ctx, a)
	if err != nil {
		return nil, err
	}
	p := newRemotePort(under)
	stop := context.AfterFunc(ctx, func() { _ = under.SetDeadline(time.Unix(1, 0)) }) // fails only when closed
	err = p.setUp(a)
	if !stop() || err != nil {
		_ = under.Close()
		if ctx.Err() != nil {
			return nil, driver.Errorf(driver.NotConnected, "connect to %s: the server did not set its port up in the time that there was: is it RFC 2217? tcp:// takes the bytes as they are", a)
		}
		return nil, driver.Errorf(driver.CodeOf(err), "connect to %s: %w", a, err)
	}
	return p, nil
}

func newRemotePort(under *netConn) *remotePort {
	p := &remotePort{netConn: under, values: make(map[byte]int64)}
	p.decoder = telnetDecoder{told: p.told, ended: p.ended}
	return p
}

// setUp negotiates the options and sets the port up.
func (p *remotePort) setUp(a *Address) error {
	hello := []byte{
		telnetIAC, telnetWill, optionPort, telnetIAC, telnetWill, optionBinary, telnetIAC, telnetDo, optionBinary,
		telnetIAC, telnetWill, optionGoAhead, telnetIAC, telnetDo, optionGoAhead,
	}
	if _, err := p.netConn.Write(hello); err != nil {
		return err
	}
	if err := p.await(func() (bool, error) {
		if p.refused {
			return false, driver.Errorf(driver.InvalidConfig, "the server does not let its port be set up (RFC 2217): use tcp:// and set it up there")
		}
		return p.accepted, nil
	}); err != nil {
		return err
	}
	wanted := []setting{
		{portBaud, int64(a.Baud), 4}, {portDataSize, int64(a.DataBits), 1},
		{portParity, int64(rfc2217Parities[a.Parity]), 1}, {portStopSize, int64(a.StopBits), 1},
		{portControl, controlNoFlow, 1},
	}
	for _, l := range []struct {
		word        string
		raise, drop int64
	}{{a.DTR, controlDTROn, controlDTROff}, {a.RTS, controlRTSOn, controlRTSOff}} {
		switch l.word {
		case on:
			wanted = append(wanted, setting{portControl, l.raise, 1})
		case off:
			wanted = append(wanted, setting{portControl, l.drop, 1})
		}
	}
	for _, s := range wanted {
		if err := p.set(s); err != nil {
			return err
		}
	}
	return p.Discard()
}

// A setting is one value of a port, of so many bytes.
type setting struct {
	command byte
	value   int64
	size    int
}

var settingNames = map[byte]string{portBaud: "baud", portDataSize: "data_bits", portParity: "parity", portStopSize: "stop_bits", portControl: "dtr, rts or flow control"}

// set has the server set one value, and waits for what it says that it set.
func (p *remotePort) set(s setting) error {
	value := binary.BigEndian.AppendUint64(nil, uint64(s.value))[8-s.size:]
	b := append([]byte{telnetIAC, telnetSB, optionPort, s.command}, escape(nil, value)...)
	p.mu.Lock()
	delete(p.values, s.command)
	p.mu.Unlock()
	if _, err := p.netConn.Write(append(b, telnetIAC, telnetSE)); err != nil {
		return err
	}
	return p.await(func() (bool, error) {
		got, ok := p.values[s.command]
		if ok && got != s.value && s.command != portControl {
			return false, driver.Errorf(driver.InvalidConfig, "the server set %s to %d where %d was asked", settingNames[s.command], got, s.value)
		}
		return ok, nil
	})
}

// await reads until done reports true. What comes as data meanwhile is from before the port
// was set up.
func (p *remotePort) await(done func() (bool, error)) error {
	var buf [256]byte
	for {
		p.mu.Lock()
		ok, err := done()
		p.mu.Unlock()
		if ok || err != nil {
			return err
		}
		n, err := p.netConn.Read(buf[:])
		p.decoder.decode(buf[:n])
		if err != nil {
			return fmt.Errorf("while the port is set up: %w", err)
		}
	}
}

// told answers an option.
func (p *remotePort) told(verb, option byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case option == optionPort && verb == telnetDo:
		p.accepted = true
	case option == optionPort && verb == telnetDont:
		p.refused = true
	case option == optionBinary, option == optionGoAhead, verb == telnetWont, verb == telnetDont:
		// We asked for those ourselves, and what is off stays off.
	case verb == telnetWill:
		_, _ = p.netConn.Write([]byte{telnetIAC, telnetDont, option}) // the next read tells of a broken connection
	default:
		_, _ = p.netConn.Write([]byte{telnetIAC, telnetWont, option})
	}
}

// ended takes what the server says of its port.
func (p *remotePort) ended(sub []byte) {
	if len(sub) < 3 || len(sub) > 10 || sub[0] != optionPort || sub[1] < portAnswers {
		return
	}
	value := int64(0)
	for _, c := range sub[2:] {
		value = value<<8 | int64(c)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.values[sub[1]-portAnswers] = value
}

// Read takes what is data.
func (p *remotePort) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for {
		n, err := p.netConn.Read(b)
		if n = p.decoder.decode(b[:n]); n > 0 || err != nil {
			return n, err
		}
	}
}

// Write sends data.
func (p *remotePort) Write(b []byte) (int, error) {
	p.writing.Lock()
	defer p.writing.Unlock()
	p.out = escape(p.out[:0], b)
	n, err := p.netConn.Write(p.out)
	if err != nil {
		return min(n, len(b)), err
	}
	return len(b), nil
}

// Discard throws away what has arrived here, and has the server throw away what has arrived
// there.
func (p *remotePort) Discard() error {
	purge := []byte{telnetIAC, telnetSB, optionPort, portPurge, purgeReceived, telnetIAC, telnetSE}
	if _, err := p.netConn.Write(purge); err != nil {
		return driver.Errorf(driver.NotConnected, "write: %w", err)
	}
	var buf [4096]byte
	defer p.SetReadDeadline(time.Time{}) //nolint:errcheck // fails only when closed
	for total := 0; total < mostDiscarded; {
		_ = p.SetReadDeadline(time.Now().Add(time.Millisecond)) // fails only when closed
		n, err := p.netConn.Read(buf[:])
		p.decoder.decode(buf[:n])
		total += n
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), err != nil:
			return driver.Errorf(driver.NotConnected, "read: %w", err)
		}
	}
	return nil
}
