package modbus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goburrow/modbus"

	"github.com/fieldloom/fieldloom/core/driver"
)

// Functions that goburrow does not name (clauses 6.13 to 6.15).
const (
	funcServerID  = 17
	funcReadFile  = 20
	funcWriteFile = 21
)

// An own is a point with a function of its own: it lies in none of the tables, and is read by a
// request that nothing else shares.
type own struct {
	function byte
	data     []byte  // of the request
	number   byte    // of an object of the identification
	record   Address // of a record of a file: its number, and how its registers are read
}

// recordReference is the reference type of a record of a file (clause 6.14).
const recordReference = 6

// mostRecords is how many registers of a file one answer takes: a PDU of 253 bytes, less the
// function, two lengths and the reference type (clause 6.14).
const mostRecords = (maxPDU - 4) / 2

// parseOwn parses an address that names a function. ok is false for all others.
func parseOwn(s string) (o *own, ok bool, err error) {
	word, rest, has := strings.Cut(s, ":")
	switch word {
	case "status":
		o = &own{function: funcExceptionStatus}
	case "events":
		o = &own{function: funcEventCounter}
	case "server-id":
		o = &own{function: funcServerID}
	case "diag":
		return ownNumber(s, rest, 11, 18, func(n uint16) *own {
			return &own{function: funcDiagnostics, data: append(binary.BigEndian.AppendUint16(nil, n), 0, 0)}
		})
	case "id":
		return ownNumber(s, rest, 0, 255, func(n uint16) *own {
			return &own{function: funcEncapsulated, data: []byte{identificationType, 4, byte(n)}, number: byte(n)}
		})
	case "fifo":
		return ownNumber(s, rest, 0, 65535, func(n uint16) *own {
			return &own{function: modbus.FuncCodeReadFIFOQueue, data: binary.BigEndian.AppendUint16(nil, n)}
		})
	case "file":
		o, err = parseFile(rest)
		return o, true, wrapAddress(s, err)
	default:
		return nil, false, nil
	}
	if has {
		return nil, true, fmt.Errorf("address %q: nothing follows %s", s, word)
	}
	return o, true, nil
}

func wrapAddress(s string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("address %q: %w", s, err)
}

func ownNumber(s, text string, least, most uint64, of func(uint16) *own) (*own, bool, error) {
	n, err := strconv.ParseUint(text, 0, 16)
	if err != nil || n < least || n > most {
		return nil, true, fmt.Errorf("address %q: %q is not a number from %d to %d", s, text, least, most)
	}
	return of(uint16(n)), true, nil
}

// parseFile parses FILE:RECORD[:TYPE[:ORDER]].
func parseFile(s string) (*own, error) {
	file, rest, ok := strings.Cut(s, ":")
	n, err := strconv.ParseUint(file, 10, 16)
	if !ok || err != nil || n == 0 {
		return nil, errors.New("write it as file:FILE:RECORD, with a file from 1 to 65535, for example file:4:1:float32")
	}
	a, err := parseAddress("holding:" + rest)
	switch {
	case err != nil:
		return nil, err
	case a.field():
		return nil, errors.New("bits of a record cannot be named: read it whole")
	case int(a.Start)+a.items() > 10_000:
		return nil, errors.New("a file has the records 0 to 9999")
	case a.items() > mostRecords:
		return nil, fmt.Errorf("%d registers are more than the %d of one answer", a.items(), mostRecords)
	}
	data := []byte{7, recordReference}
	for _, v := range []uint16{uint16(n), a.Start, uint16(a.items())} {
		data = binary.BigEndian.AppendUint16(data, v)
	}
	return &own{function: funcReadFile, data: data, record: a}, nil
}

// writable reports whether the point can be written: records of a file only.
func (o *own) writable() bool { return o.function == funcReadFile }

// sample makes a value of what an answer holds behind its function code.
func (o *own) sample(data []byte) driver.Sample {
	switch o.function {
	case funcExceptionStatus:
		if len(data) == 1 {
			return driver.GoodSample(driver.Uint64Value(uint64(data[0])))
		}
	case funcDiagnostics, funcEventCounter: // a sub-function or a status, and the counter
		if len(data) == 4 && (o.function == funcEventCounter || slices.Equal(data[:2], o.data[:2])) {
			return driver.GoodSample(driver.Uint64Value(uint64(binary.BigEndian.Uint16(data[2:]))))
		}
	case funcServerID:
		if len(data) >= 1 && int(data[0]) == len(data)-1 {
			return driver.GoodSample(driver.BytesValue(slices.Clone(data[1:])))
		}
	case funcEncapsulated:
		if list, _, _ := objectsOf(data); len(list) > 0 && data[6] == o.number {
			return driver.GoodSample(driver.StringValue(list[0].text))
		}
	case modbus.FuncCodeReadFIFOQueue:
		return queueOf(data)
	case funcReadFile:
		return o.recordOf(data)
	}
	return o.malformed(data)
}

func (o *own) malformed(data []byte) driver.Sample {
	return driver.Faulted(driver.Errorf(driver.Protocol, "an answer of %d bytes to function %d that is none", len(data), o.function))
}

// queueOf is a queue's registers as a text, the first in first (clause 6.18): a count of bytes, a
// count of registers, and these.
func queueOf(data []byte) driver.Sample {
	if len(data) < 4 {
		return driver.Faulted(driver.Errorf(driver.Protocol, "a queue of %d bytes", len(data)))
	}
	n := int(binary.BigEndian.Uint16(data[2:]))
	if len(data) != 4+2*n || int(binary.BigEndian.Uint16(data)) != 2+2*n {
		return driver.Faulted(driver.Errorf(driver.Protocol, "a queue of %d registers in %d bytes", n, len(data)))
	}
	words := make([]string, n)
	for i := range words {
		words[i] = strconv.Itoa(int(binary.BigEndian.Uint16(data[4+2*i:])))
	}
	return driver.GoodSample(driver.StringValue(strings.Join(words, ",")))
}

// recordOf takes the registers out of the answer to a read of one record: its length, that of
// the group, the reference type, and the registers (clause 6.14).
func (o *own) recordOf(data []byte) driver.Sample {
	size := 2 * o.record.items()
	if len(data) != 3+size || int(data[0]) != 2+size || int(data[1]) != 1+size || data[2] != recordReference {
		return o.malformed(data)
	}
	var samples [1]driver.Sample
	o.record.decodeAll(samples[:], data[3:], size)
	return samples[0]
}

// A mixedReader reads points of registers by a reader, and each of the others by itself.
type mixedReader struct {
	device    *device
	registers *reader // nil: there are none
	places    []int   // of the reader's points, in the samples
	samples   []driver.Sample
	owns      []*own
	at        []int // of the others
}

var _ driver.Reader = (*mixedReader)(nil)

// mixed divides points, some of which have functions of their own.
func (d *device) mixed(points []driver.Point, budget int, retry time.Duration) (*mixedReader, error) {
	m := &mixedReader{device: d}
	var plain []driver.Point
	for i, p := range points {
		if p.Index < 0 || p.Index >= len(d.points) {
			return nil, driver.Errorf(driver.Internal, "modbus: unit %d: there is no point %d of %d", d.settings.Unit, p.Index, len(d.points))
		}
		if o := d.owns[p.Index]; o != nil {
			m.owns, m.at = append(m.owns, o), append(m.at, i)
			continue
		}
		plain, m.places = append(plain, p), append(m.places, i)
	}
	if len(plain) == 0 {
		return m, nil
	}
	var err error
	m.samples = make([]driver.Sample, len(plain))
	m.registers, err = d.prepareRegisters(plain, budget, retry)
	return m, err
}

// Read reads the registers, and then the others one by one.
func (m *mixedReader) Read(ctx context.Context, _ []driver.Point, out []driver.Sample) error {
	answered := false
	if m.registers != nil {
		clear(m.samples)
		err := m.registers.Read(ctx, nil, m.samples)
		for i, place := range m.places {
			out[place] = m.samples[i]
		}
		if err != nil {
			return err
		}
		answered = true
	}
	var silent error
	for i, o := range m.owns {
		data, code, err := m.device.line.transact(ctx, byte(m.device.settings.Unit), o.function, o.data)
		switch {
		case err == nil && code == 0:
			out[m.at[i]], answered = o.sample(data), true
		case err == nil:
			out[m.at[i]], answered = driver.Faulted(m.device.failed(exception(code), "function %d", o.function)), true
		case driver.CodeOf(err) == driver.NotConnected, ctx.Err() != nil:
			return err
		default:
			silent = m.device.failed(err, "function %d", o.function)
			out[m.at[i]] = driver.Faulted(driver.AsError(silent))
			if !answered {
				return silent // each of the others would cost a time-out more
			}
		}
	}
	return nil
}

// writeOwn writes a point with a function of its own.
func (d *device) writeOwn(ctx context.Context, p driver.Point, o *own, v driver.Value) error {
	if !o.writable() {
		return driver.Errorf(driver.Denied, "modbus: unit %d: write %s: it can only be read", d.settings.Unit, p.Address)
	}
	if err := d.writeFile(ctx, o, v); err != nil {
		return d.failed(err, "write %s", p.Address)
	}
	return nil
}

// writeFile writes a record of a file; the answer repeats the request (clause 6.15).
func (d *device) writeFile(ctx context.Context, o *own, v driver.Value) error {
	registers, err := o.record.encode(v)
	if err != nil {
		return err
	}
	data := append([]byte{byte(7 + len(registers)), recordReference}, o.data[2:]...)
	adu, err := d.packager.Encode(&modbus.ProtocolDataUnit{FunctionCode: funcWriteFile, Data: append(data, registers...)})
	if err != nil {
		return driver.Errorf(driver.BadValue, "%w", err)
	}
	answer, err := transport{ctx, d}.Send(adu)
	if err != nil {
		return err
	}
	got, code, err := d.open(adu, answer)
	switch {
	case err != nil:
		return err
	case code != 0:
		return exception(code)
	case !slices.Equal(got, append(data, registers...)):
		return driver.Errorf(driver.Protocol, "the answer to function %d does not repeat the request", funcWriteFile)
	}
	return nil
}
