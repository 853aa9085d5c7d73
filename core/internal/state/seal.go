package state

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"time"

	bolt "go.etcd.io/bbolt"
)

// The bucket "sums" holds the sum of every other bucket, under the lengths and names of
// its path, and the seal: which database this is, its generation, and when it was sealed.
var (
	sumsBucket = []byte("sums")
	sealKey    = []byte("\x00seal")
)

// An id tells a database, and its copies, from all others.
type id [16]byte

// seal is what every change renews.
type seal struct {
	id         id
	generation uint64
	time       time.Time
}

const sealSize = 16 + 8 + 8 + sha256.Size

func (s *seal) encode() []byte {
	b := append([]byte(nil), s.id[:]...)
	b = binary.BigEndian.AppendUint64(b, s.generation)
	b = binary.BigEndian.AppendUint64(b, uint64(s.time.UnixNano()))
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

func decodeSeal(b []byte) (s seal, ok bool) {
	if len(b) != sealSize {
		return seal{}, false
	}
	if sum := sha256.Sum256(b[:32]); !bytes.Equal(sum[:], b[32:]) {
		return seal{}, false
	}
	copy(s.id[:], b)
	s.generation = binary.BigEndian.Uint64(b[16:])
	s.time = time.Unix(0, int64(binary.BigEndian.Uint64(b[24:])))
	return s, true
}

// pathKey names a bucket in the sums.
func pathKey(path [][]byte) string {
	var b []byte
	for _, name := range path {
		b = binary.AppendUvarint(b, uint64(len(name)))
		b = append(b, name...)
	}
	return string(b)
}

// summer makes the sum of a bucket's own pairs; of buckets in it only the names count.
type summer struct{ h hash.Hash }

func newSummer() summer { return summer{sha256.New()} }

func (s summer) add(key, value []byte, nested bool) {
	var head [17]byte
	if nested {
		head[0], value = 1, nil
	}
	binary.BigEndian.PutUint64(head[1:], uint64(len(key)))
	binary.BigEndian.PutUint64(head[9:], uint64(len(value)))
	_, _ = s.h.Write(head[:])
	_, _ = s.h.Write(key)
	_, _ = s.h.Write(value)
}

// check compares an image with its sums. One without a seal, which an earlier version
// wrote, is taken as it is.
func (im *image) check() (s seal, err error) {
	sums, found := map[string]summer{}, map[string]string{}
	var sealed, damaged bool
	err = im.walk(func(path [][]byte, key, value []byte, nested bool) {
		if len(path) == 1 && bytes.Equal(path[0], sumsBucket) {
			if bytes.Equal(key, sealKey) {
				s, sealed = decodeSeal(value)
				damaged = damaged || !sealed
				return
			}
			found[string(key)] = string(value)
			return
		}
		if nested && (len(path) > 0 || !bytes.Equal(key, sumsBucket)) {
			sums[pathKey(append(path[:len(path):len(path)], key))] = newSummer()
		}
		if len(path) > 0 {
			sums[pathKey(path)].add(key, value, nested)
		}
	})
	switch {
	case err != nil:
		return seal{}, err
	case !sealed && !damaged && len(found) == 0:
		return seal{}, nil
	case !sealed:
		return seal{}, errors.New("its seal is damaged")
	case len(sums) != len(found):
		return seal{}, fmt.Errorf("it has %d buckets and the sums of %d", len(sums), len(found))
	}
	for path, sum := range sums {
		if found[path] != string(sum.h.Sum(nil)) {
			return seal{}, fmt.Errorf("bucket %q is not what was stored last", path)
		}
	}
	return s, nil
}

// renew makes the sums of the buckets on a path and of all below it; of all where the
// path is empty. Then it counts the generation.
func renew(tx *bolt.Tx, path [][]byte) error {
	sums, err := tx.CreateBucketIfNotExists(sumsBucket)
	if err != nil {
		return err
	}
	s, ok := decodeSeal(sums.Get(sealKey))
	if !ok {
		_, _ = rand.Read(s.id[:])
		path = nil
	}
	if len(path) == 0 {
		if sums, err = renewAll(tx); err != nil {
			return err
		}
	} else if err := renewPath(tx, sums, path); err != nil {
		return err
	}
	s.generation++
	s.time = time.Now()
	return sums.Put(sealKey, s.encode())
}

// renewAll begins the sums anew.
func renewAll(tx *bolt.Tx) (*bolt.Bucket, error) {
	old := tx.Bucket(sumsBucket)
	want := map[string]bool{string(sealKey): true}
	err := tx.ForEach(func(name []byte, b *bolt.Bucket) error {
		if bytes.Equal(name, sumsBucket) {
			return nil
		}
		return renewBucket(b, old, [][]byte{name}, want)
	})
	if err != nil {
		return nil, err
	}
	var gone [][]byte
	err = old.ForEach(func(key, _ []byte) error {
		if !want[string(key)] {
			gone = append(gone, bytes.Clone(key))
		}
		return nil
	})
	for _, key := range gone {
		err = errors.Join(err, old.Delete(key))
	}
	return old, err
}

func renewPath(tx *bolt.Tx, sums *bolt.Bucket, path [][]byte) error {
	b := tx.Bucket(path[0])
	for i := 1; i <= len(path) && b != nil; i++ {
		if i == len(path) {
			return renewBucket(b, sums, path, map[string]bool{})
		}
		if _, err := renewOne(b, sums, path[:i]); err != nil {
			return err
		}
		b = b.Bucket(path[i])
	}
	return nil // there is none: nothing was changed
}

// renewBucket makes the sum of a bucket and those of all below it.
func renewBucket(b, sums *bolt.Bucket, path [][]byte, made map[string]bool) error {
	nested, err := renewOne(b, sums, path)
	made[pathKey(path)] = true
	for _, name := range nested {
		if err == nil {
			err = renewBucket(b.Bucket(name), sums, append(path[:len(path):len(path)], name), made)
		}
	}
	return err
}

// renewOne makes the sum of a bucket's own pairs.
func renewOne(b, sums *bolt.Bucket, path [][]byte) (nested [][]byte, err error) {
	sum := newSummer()
	err = b.ForEach(func(key, value []byte) error {
		below := value == nil && b.Bucket(key) != nil
		if below {
			nested = append(nested, bytes.Clone(key))
		}
		sum.add(key, value, below)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return nested, sums.Put([]byte(pathKey(path)), sum.h.Sum(nil))
}
