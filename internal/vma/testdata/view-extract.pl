#!/usr/bin/perl
# Takes a VMA archive apart into a directory: a reader of its own, for tests. It
# shares nothing with the Go code and is as strict as the format allows.
#
#	view-extract.pl FILE|- DIR
#
# Each config is DIR/config-NAME, each drive DIR/NAME. On standard output: a line
# each for the header, the drives, and each extent with its slots.
use strict;
use warnings;
use Digest::MD5 qw(md5);

my ($file, $dir) = @ARGV;
my $in;
if ($file eq '-') { $in = \*STDIN } else { open $in, '<', $file or die "$file: $!\n" }
binmode $in;
my $pos = 0;

# take reads exactly n bytes; at the end of the file it gives undef.
sub take {
	my ($n) = @_;
	my $got = '';
	while (length $got < $n) {
		my $k = read $in, $got, $n - length $got, length $got;
		die "$file: $!\n" unless defined $k;
		last unless $k;
	}
	return undef if $got eq '' && $n;
	die "cut short at byte " . ($pos + length $got) . "\n" if length $got < $n;
	$pos += $n;
	return $got;
}

sub check { my ($ok, $what) = @_; die "byte $pos: $what\n" unless $ok }

# without zeroes the 16 bytes of a checksum.
sub without { my ($bytes, $at) = @_; substr($bytes, $at, 16) = "\0" x 16; return $bytes }

my $head = take(12288) // die "empty file\n";
my ($magic, $version, $uuid, $ctime, $sum, $bloboff, $blobsize, $headsize) = unpack 'a4 N a16 q> a16 N N N', $head;
check($magic eq "VMA\0", 'magic');
check($version == 1, 'version');
check($headsize > 12288 && $headsize % 512 == 0 && $headsize <= 524288, 'header size');
check($bloboff == 12288 && $bloboff + $blobsize <= $headsize, 'blob buffer');
$head .= take($headsize - 12288) // die "no blobs\n";
check(md5(without($head, 32)) eq $sum, 'md5 of the header');
check(substr($head, 60, 1984) !~ /[^\0]/ && substr($head, 4092, 4) eq "\0" x 4, 'reserved bytes');
check(substr($head, $bloboff + $blobsize) !~ /[^\0]/, 'bytes after the blobs');

my (%blob, @order);
for (my $at = 1; $at < $blobsize;) {
	my $n = unpack 'v', substr $head, $bloboff + $at, 2;
	check($at + 2 + $n <= $blobsize, 'length of a blob');
	$blob{$at} = substr $head, $bloboff + $at + 2, $n;
	push @order, $at;
	$at += 2 + $n;
}

sub name {
	my ($at) = @_;
	check(exists $blob{$at} && $blob{$at} =~ /^[^\0\/]+\0$/, 'a name');
	return substr $blob{$at}, 0, -1;
}

my @names = unpack 'N256', substr $head, 2044, 1024;
my @datas = unpack 'N256', substr $head, 3068, 1024;
my @met;
for my $i (0 .. 255) {
	next unless $names[$i] && $datas[$i];
	push @met, $names[$i], $datas[$i];
	open my $out, '>', "$dir/config-" . name($names[$i]) or die $!;
	binmode $out;
	print $out $blob{$datas[$i]} // die "config $i has no data\n";
	close $out or die $!;
}

my (%drive);
for my $id (0 .. 255) {
	my ($nameat, $zero, $size, $zeros) = unpack 'N N Q> a16', substr $head, 4096 + 32 * $id, 32;
	check($zero == 0 && $zeros eq "\0" x 16, 'reserved bytes of a drive');
	next unless $size;
	check($id > 0 && $id < 255, 'number of a drive');
	push @met, $nameat;
	my $name = name($nameat);
	open my $out, '+>', "$dir/$name" or die $!;
	binmode $out;
	truncate $out, $size or die $!;
	$drive{$id} = { name => $name, size => $size, clusters => int(($size + 65535) / 65536), out => $out, seen => '', count => 0 };
	print "drive $id $name $size\n";
}
check("@met" eq "@order", 'order of the blobs: name, data, name, data, then the drives');
print "header $headsize uuid ", unpack('H*', $uuid), " ctime $ctime\n";

while (defined(my $ext = take(512))) {
	my ($magic, $reserved, $blocks, $id, $sum) = unpack 'a4 n n a16 a16', $ext;
	check($magic eq 'VMAE' && $reserved == 0 && $id eq $uuid, 'extent');
	check(md5(without($ext, 24)) eq $sum, 'md5 of an extent');
	my ($counted, $ended, @slots) = (0, 0);
	for my $i (0 .. 58) {
		my ($mask, $zero, $dev, $cluster) = unpack 'n C C N', substr $ext, 40 + 8 * $i, 8;
		check($zero == 0, 'reserved byte of a slot');
		if ($dev == 0) { check($mask == 0 && $cluster == 0, 'an unused slot'); $ended = 1; next }
		check(!$ended, 'a used slot after an unused one');
		my $d = $drive{$dev} // die "no drive $dev\n";
		check($cluster < $d->{clusters}, 'a cluster beyond the drive');
		check(!vec($d->{seen}, $cluster, 1), 'a cluster that comes twice');
		vec($d->{seen}, $cluster, 1) = 1;
		$d->{count}++;
		push @slots, "$dev:$cluster:$mask";
		for my $j (grep { $mask >> $_ & 1 } 0 .. 15) {
			$counted++;
			my $block = take(4096) // die "no data\n";
			my $off = $cluster * 65536 + $j * 4096;
			check($off < $d->{size}, 'a block beyond the drive');
			check($block =~ /[^\0]/, 'a stored block of zeros');
			my $past = $off + 4096 - $d->{size};
			check(substr($block, -$past) !~ /[^\0]/, 'bytes beyond the drive') if $past > 0;
			seek $d->{out}, $off, 0 or die $!;
			print { $d->{out} } $past > 0 ? substr($block, 0, -$past) : $block;
		}
	}
	check($counted == $blocks, 'block count');
	print "extent @slots\n";
}
for my $d (values %drive) {
	check($d->{count} == $d->{clusters}, "$d->{name}: $d->{count} clusters of $d->{clusters}");
	close $d->{out} or die $!;
}
