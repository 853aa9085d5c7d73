package catalog

import (
	"encoding/binary"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// For the fuzz targets of the record decoders.
var (
	DecodeBlock   = decodeBlock
	DecodeStrings = decodeStrings
	EncodeStrings = encodeStrings
	Seal          = seal
)

// Reencode returns what r would be stored as.
func (r *blockRecord) Reencode() []byte { return r.encode() }

// PutBlock stores a block as it is, right or wrong.
func PutBlock(t testing.TB, db *bolt.DB, first uint32, link, name string, names ...string) {
	t.Helper()
	record, none := encodeStrings(names), encodeStrings(nil)
	b := blockRecord{count: uint32(len(names)), names: hashOf(record), units: hashOf(none), link: link, device: name}
	err := db.Update(func(tx *bolt.Tx) error {
		root := tx.Bucket(rootBucket)
		n, u := hashOf(record), hashOf(none)
		if err := root.Bucket(stringsBucket).Put(n[:], record); err != nil {
			return err
		}
		if err := root.Bucket(stringsBucket).Put(u[:], none); err != nil {
			return err
		}
		return root.Bucket(blocksBucket).Put(binary.BigEndian.AppendUint32(nil, first), b.encode())
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Flip changes one bit in every record of a bucket.
func Flip(t testing.TB, db *bolt.DB, bucket string) {
	t.Helper()
	err := db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(rootBucket).Bucket([]byte(bucket))
		records := map[string][]byte{}
		if err := b.ForEach(func(k, v []byte) error {
			v = append([]byte(nil), v...)
			v[len(v)/2] ^= 4
			records[string(k)] = v
			return nil
		}); err != nil {
			return err
		}
		for k, v := range records {
			if err := b.Put([]byte(k), v); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
