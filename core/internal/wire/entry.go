package wire

import (
	"github.com/fieldloom/fieldloom/core/driver"
	driverv1 "github.com/fieldloom/fieldloom/proto/driver/v1"
)

// EncodeEntry makes the message of an address that was found.
func EncodeEntry(e *driver.Entry) *driverv1.BrowseEntry {
	return &driverv1.BrowseEntry{
		Address: ValidText(e.Address), Name: ValidText(e.Name), Kind: driverv1.Kind(e.Kind), Writable: e.Writable,
		Value: ValidText(e.Value), Likely: e.Likely,
	}
}

// DecodeEntry is what EncodeEntry was given.
func DecodeEntry(e *driverv1.BrowseEntry) driver.Entry {
	return driver.Entry{
		Address: e.GetAddress(), Name: e.GetName(), Kind: DecodeKind(e.GetKind()), Writable: e.GetWritable(),
		Value: e.GetValue(), Likely: e.GetLikely(),
	}
}
