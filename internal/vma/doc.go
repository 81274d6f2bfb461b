// Package vma reads and makes VMA, the container of the archives of virtual
// machines that vzdump of Proxmox VE writes.
package vma
