// Package examples plays what users are shown: the programs in examples/, the
// demo, and the code in the documents.
package examples
