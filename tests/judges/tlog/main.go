// SPDX-License-Identifier: Apache-2.0

// The judge of our transparency log: golang.org/x/mod/sumdb, which verifies Go's own log.
//
// Reads what we made from standard input as JSON. Verifies the checkpoint's Ed25519 signature, the root, every inclusion
// proof and every consistency proof, and makes all of them anew out of our tiles. Prints one line, or says on standard
// error what does not agree.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type made struct {
	VerifierKey string            `json:"verifier_key"`
	Checkpoint  string            `json:"checkpoint"`
	Entries     [][]byte          `json:"entries"`
	Tiles       map[string][]byte `json:"tiles"`
	Inclusion   []inclusion       `json:"inclusion"`
	Consistency []consistency     `json:"consistency"`
}

type inclusion struct {
	Index int64       `json:"index"`
	Proof []tlog.Hash `json:"proof"`
}

type consistency struct {
	Size  int64       `json:"size"`
	Root  tlog.Hash   `json:"root"`
	Proof []tlog.Hash `json:"proof"`
}

// ours serves our tiles. Go's own paths name the height of a tile; those of C2SP do not, because it is always 8.
type ours struct{ tiles map[string][]byte }

func (ours) Height() int { return 8 }

func (ours) SaveTiles([]tlog.Tile, [][]byte) {}

func (o ours) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	found := make([][]byte, len(tiles))
	for i, tile := range tiles {
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		data, ok := o.tiles[path]
		if !ok {
			return nil, fmt.Errorf("there is no tile %s", path)
		}
		found[i] = data
	}
	return found, nil
}

func main() {
	var m made
	check(json.NewDecoder(os.Stdin).Decode(&m))
	tree := opened(m)
	agree("root of the entries", rooted(m.Entries), tree.Hash)
	hashes := tlog.TileHashReader(tree, ours{m.Tiles})
	for _, each := range m.Inclusion {
		check(tlog.CheckRecord(each.Proof, tree.N, tree.Hash, each.Index, tlog.RecordHash(m.Entries[each.Index])))
		proof, err := tlog.ProveRecord(tree.N, each.Index, hashes)
		check(err)
		agree("inclusion proof", fmt.Sprint(proof), fmt.Sprint(tlog.RecordProof(each.Proof)))
	}
	for _, each := range m.Consistency {
		check(tlog.CheckTree(each.Proof, tree.N, tree.Hash, each.Size, each.Root))
		proof, err := tlog.ProveTree(tree.N, each.Size, hashes)
		check(err)
		agree("consistency proof", fmt.Sprint(proof), fmt.Sprint(tlog.TreeProof(each.Proof)))
	}
	fmt.Printf("%d entries, %d inclusion proofs, %d consistency proofs\n", tree.N, len(m.Inclusion), len(m.Consistency))
}

// opened returns the tree of the checkpoint, whose signature is right.
func opened(m made) tlog.Tree {
	verifier, err := note.NewVerifier(m.VerifierKey)
	check(err)
	opened, err := note.Open([]byte(m.Checkpoint), note.VerifierList(verifier))
	check(err)
	lines := strings.Split(opened.Text, "\n")
	agree("origin", lines[0], verifier.Name())
	var tree tlog.Tree
	_, err = fmt.Sscan(lines[1], &tree.N)
	check(err)
	tree.Hash, err = tlog.ParseHash(lines[2])
	check(err)
	return tree
}

// rooted hashes all entries as Go's own log does.
func rooted(entries [][]byte) tlog.Hash {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		found := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			found[i] = stored[index]
		}
		return found, nil
	})
	for n, entry := range entries {
		hashes, err := tlog.StoredHashes(int64(n), entry, reader)
		check(err)
		stored = append(stored, hashes...)
	}
	root, err := tlog.TreeHash(int64(len(entries)), reader)
	check(err)
	return root
}

func agree[T comparable](what string, theirs, mine T) {
	if theirs != mine {
		check(fmt.Errorf("%s: theirs is %v, ours is %v", what, theirs, mine))
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
