package modbus

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// Times are texts: of RFC 3339 in UTC where the form has a zone, without a zone where
// it has none.
const wallClock = "2006-01-02T15:04:05.999"

// The first and the last second that RFC 3339 can write: of the years 0 and 9999.
const (
	firstSecond = -62167219200
	lastSecond  = 253402300799
)

func decodeEpoch32(_ *Address, b []byte) driver.Value {
	return timeValue(time.Unix(int64(binary.BigEndian.Uint32(b)), 0))
}

func parseEpoch64(_ *Address, b []byte) (driver.Value, *driver.Error) {
	n := int64(binary.BigEndian.Uint64(b))
	if n < firstSecond || n > lastSecond {
		return driver.Value{}, driver.Errorf(driver.Protocol, "%d seconds since 1970 are no time of the years 0 to 9999", n)
	}
	return timeValue(time.Unix(n, 0)), nil
}

func parseEpoch64Milli(_ *Address, b []byte) (driver.Value, *driver.Error) {
	n := int64(binary.BigEndian.Uint64(b))
	if n < firstSecond*1000 || n > lastSecond*1000+999 {
		return driver.Value{}, driver.Errorf(driver.Protocol, "%d ms since 1970 are no time of the years 0 to 9999", n)
	}
	return timeValue(time.UnixMilli(n)), nil
}

func timeValue(t time.Time) driver.Value { return driver.StringValue(t.UTC().Format(time.RFC3339Nano)) }

func encodeEpoch(a Address, b []byte, v driver.Value) error {
	t, err := time.Parse(time.RFC3339Nano, v.Str())
	unit, takes := time.Second, "a time of RFC 3339 in whole seconds, as 2026-12-01T06:30:00Z"
	n := t.Unix()
	switch a.Type {
	case Epoch64Milli:
		n, unit, takes = t.UnixMilli(), time.Millisecond, "a time of RFC 3339 in whole milliseconds, as 2026-12-01T06:30:00.125Z"
	case Epoch32:
		takes += ", from 1970 to 2106"
		if n < 0 || n > math.MaxUint32 {
			return badValue(a, v, takes)
		}
	}
	if utc := t.UTC(); err != nil || utc.Nanosecond()%int(unit) != 0 || utc.Year() < 0 || utc.Year() > 9999 {
		return badValue(a, v, takes)
	}
	put(b, uint64(n))
	return nil
}

// The parts of a CP56Time2a (IEC 60870-5-101, clause 7.2.6.18; the form is of IEC
// 60870-5-4, clause 6.8) as a number of 56 bits, the first octet the least significant.
// Its year has two digits, and its zone is what device and user agreed on.
const (
	cp56Milli   = 0 // 16 bits, with the seconds
	cp56Minute  = 16
	cp56Invalid = 23
	cp56Hour    = 24
	cp56Day     = 32
	cp56Month   = 40
	cp56Year    = 48
	cp56Century = 2000
)

func parseCP56(_ *Address, b []byte) (driver.Value, *driver.Error) {
	n := binary.BigEndian.Uint64(b)
	part := func(at, bits int) int { return int(n >> at & (1<<bits - 1)) }
	milli, minute, hour := part(cp56Milli, 16), part(cp56Minute, 6), part(cp56Hour, 5)
	day, month, year := part(cp56Day, 5), part(cp56Month, 4), part(cp56Year, 7)
	t := time.Date(cp56Century+year, time.Month(month), day, hour, minute, 0, milli*int(time.Millisecond), time.UTC)
	switch {
	case part(cp56Invalid, 1) == 1:
		return driver.Value{}, driver.Errorf(driver.Protocol, "the device marks its time as invalid (IV): it sends %s", hexadecimal(b))
	case milli > 59999 || minute > 59 || hour > 23 || year > 99 || t.Day() != day || int(t.Month()) != month:
		return driver.Value{}, driver.Errorf(driver.Protocol,
			"no CP56Time2a: year %d, month %d, day %d, hour %d, minute %d, %d ms: the device sends %s", year, month, day, hour, minute, milli, hexadecimal(b))
	}
	return driver.StringValue(t.Format(wallClock)), nil
}

// encodeCP56 leaves the day of the week 0, which is "not used".
func encodeCP56(a Address, b []byte, v driver.Value) error {
	t, err := time.Parse(wallClock, v.Str())
	if year := t.Year() - cp56Century; err != nil || year < 0 || year > 99 || t.Nanosecond()%int(time.Millisecond) != 0 {
		return badValue(a, v, "a time in whole milliseconds without a zone, from 2000 to 2099, as 2026-12-01T06:30:00.125")
	}
	n := uint64(t.Second()*1000+t.Nanosecond()/int(time.Millisecond))<<cp56Milli |
		uint64(t.Minute())<<cp56Minute | uint64(t.Hour())<<cp56Hour |
		uint64(t.Day())<<cp56Day | uint64(t.Month())<<cp56Month | uint64(t.Year()-cp56Century)<<cp56Year
	put(b, n)
	return nil
}
