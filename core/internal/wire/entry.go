package wire

import (
	"strings"

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

// maxEntryText bounds each text of an entry, in bytes: a driver may answer anything.
const maxEntryText = 4096

// DecodeEntry is what EncodeEntry was given. Texts that are too long are cut.
func DecodeEntry(e *driverv1.BrowseEntry) driver.Entry {
	return driver.Entry{
		Address: cutText(e.GetAddress()), Name: cutText(e.GetName()), Kind: DecodeKind(e.GetKind()), Writable: e.GetWritable(),
		Value: cutText(e.GetValue()), Likely: e.GetLikely(),
	}
}

// cutText cuts a text that is too long, between two characters.
func cutText(text string) string {
	if len(text) <= maxEntryText {
		return text
	}
	return strings.ToValidUTF8(text[:maxEntryText], "") + "..."
}
