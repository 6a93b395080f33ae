-- SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
--[[
Wireshark and tshark on the published Electrode/SpecPaxos VR format: framing, fast header and
MyPrepareOK here, all other bodies by Wireshark's protobuf dissector with replica/vr.proto.

    pytests/wireshark/with tshark -r pytests/vectors/PrepareMessage.vanilla.pcap -V

`with` gives the two files to the program that it starts. Filters: paxrack.kind == "Prepare",
paxrack.view, paxrack.op, ... and pbf.specpaxos.vr.proto.PrepareMessage.opnum for bodies.
What is odd is an expert info: paxrack.expert finds it.
]]

local MAGIC, MAGIC_FRAGMENT = 0x20050318, 0x20101010
local TYPE_AT, FAST_LEN, FRAGMENT_HEAD = 12, 12, 28
local TYPE_MAX, FRAGMENT_MAX, MY_PREPARE_OK_LEN = 46, 9000, 20
local MY_PREPARE_OK = "specpaxos.vr.MyPrepareOK"

local paxrack = Proto("paxrack", "Electrode/SpecPaxos VR")
paxrack.prefs.port = Pref.uint("UDP port", 12345, "Port of the replicas")

local f = {
	magic = ProtoField.uint32("paxrack.magic", "Magic", base.HEX),
	type_len = ProtoField.uint64("paxrack.type_len", "Length of the type name"),
	type = ProtoField.string("paxrack.type", "Type name"),
	kind = ProtoField.string("paxrack.kind", "Kind"),
	fast = ProtoField.bytes("paxrack.fast", "Fast header"),
	broadcast = ProtoField.bool("paxrack.broadcast", "Broadcast", 32, nil, 0x80000000),
	view = ProtoField.uint32("paxrack.view", "View", base.DEC, nil, 0x7fffffff),
	op = ProtoField.uint32("paxrack.op", "Op"),
	batchstart = ProtoField.uint32("paxrack.batchstart", "First op of the batch"),
	index = ProtoField.uint32("paxrack.index", "Replica index"),
	third = ProtoField.uint32("paxrack.third", "Third word"),
	body_len = ProtoField.uint64("paxrack.body_len", "Length of the body"),
	body_view = ProtoField.uint64("paxrack.body.view", "View (body)"),
	body_op = ProtoField.uint64("paxrack.body.op", "Op (body)"),
	body_index = ProtoField.uint32("paxrack.body.index", "Replica index (body)"),
	id = ProtoField.uint64("paxrack.fragment.id", "Message id", base.HEX),
	offset = ProtoField.uint64("paxrack.fragment.offset", "Offset"),
	total = ProtoField.uint64("paxrack.fragment.total", "Length of the message"),
	piece = ProtoField.bytes("paxrack.fragment.piece", "Piece"),
}
paxrack.fields = f

local function warning(name, text)
	return ProtoExpert.new("paxrack." .. name, text, expert.group.MALFORMED, expert.severity.WARN)
end

local e = {
	cut = ProtoExpert.new("paxrack.cut", "The capture, or an IP fragment, ends here", expert.group.UNDECODED, expert.severity.NOTE),
	short = warning("short", "The datagram ends inside the header"),
	type_len = warning("bad_type_len", "No kind has a type name of this length"),
	unknown = ProtoExpert.new("paxrack.unknown", "No kind of this name", expert.group.UNDECODED, expert.severity.NOTE),
	body_len = warning("bad_body_len", "The length of the body is not what the datagram has"),
	fixed = warning("bad_fixed_body", "The body of a MyPrepareOK has 20 bytes"),
	differs = warning("body_differs", "The body contradicts the fast header"),
	piece = warning("bad_piece", "The piece does not lie in the message, or is empty or over 9000 bytes"),
}
paxrack.experts = e

local KINDS = {[MY_PREPARE_OK] = true}
for _, name in ipairs({"Request", "Prepare", "PrepareOK", "Commit", "Reply", "RequestStateTransfer",
		"StateTransfer", "StartViewChange", "DoViewChange", "StartView", "Recovery",
		"RecoveryResponse", "UnloggedRequest", "UnloggedReply"}) do
	KINDS["specpaxos.vr.proto." .. name .. "Message"] = true
end
local THIRD = {Prepare = f.batchstart, PrepareOK = f.index, MyPrepareOK = f.index}

local protobuf = Dissector.get("protobuf")

-- Is the datagram shorter than `need`, or only what was captured of it? Says so in the tree.
local function ends_before(need, tvb, pinfo, tree)
	if tvb:len() >= need then
		return false
	end
	local cut = tvb:reported_len() >= need or pinfo.fragmented
	tree:add_proto_expert_info(cut and e.cut or e.short)
	return true
end

local function dissect_fragment(tvb, pinfo, tree)
	if ends_before(FRAGMENT_HEAD, tvb, pinfo, tree) then
		return tvb:len()
	end
	local piece = tvb:reported_len() - FRAGMENT_HEAD
	local offset, total = tvb(12, 8):le_uint64(), tvb(20, 8):le_uint64()
	tree:add(f.kind, "fragment"):set_generated()
	tree:add_le(f.id, tvb(4, 8))
	tree:add_le(f.offset, tvb(12, 8))
	local item = tree:add_le(f.total, tvb(20, 8))
	if pinfo.fragmented then
		tree:add_proto_expert_info(e.cut)
	elseif piece == 0 or piece > FRAGMENT_MAX or offset > total or total - offset < UInt64(piece) then
		item:add_proto_expert_info(e.piece)
	end
	if tvb:len() > FRAGMENT_HEAD then
		tree:add(f.piece, tvb(FRAGMENT_HEAD))
	end
	pinfo.cols.info = string.format("fragment %s at %s of %s (%d bytes)", tvb(4, 8):le_uint64():tohex(),
		tostring(offset), tostring(total), piece)
	return tvb:len()
end

local function dissect_my_prepare_ok(tvb, tree, fast)
	if tvb:len() ~= MY_PREPARE_OK_LEN then
		tree:add_proto_expert_info(e.fixed)
		return
	end
	tree:add_le(f.body_view, tvb(0, 8))
	tree:add_le(f.body_op, tvb(8, 8))
	local item = tree:add_le(f.body_index, tvb(16, 4))
	if tvb(0, 8):le_uint64() ~= UInt64(fast.view) or tvb(8, 8):le_uint64() ~= UInt64(fast.op) or
			tvb(16, 4):le_uint() ~= fast.third then
		item:add_proto_expert_info(e.differs)
	end
end

local function dissect_fast(tvb, tree, kind)
	local fast = {view = bit.band(tvb(0, 4):le_uint(), 0x7fffffff), op = tvb(4, 4):le_uint(), third = tvb(8, 4):le_uint()}
	fast.broadcast = tvb(3, 1):uint() >= 0x80
	local branch = tree:add(f.fast, tvb)
	branch:add_le(f.broadcast, tvb(0, 4))
	branch:add_le(f.view, tvb(0, 4))
	branch:add_le(f.op, tvb(4, 4))
	branch:add_le(THIRD[kind] or f.third, tvb(8, 4))
	return fast
end

local function dissect_message(tvb, pinfo, tree)
	if ends_before(TYPE_AT, tvb, pinfo, tree) then
		return tvb:len()
	end
	local long, item = tvb(4, 8):le_uint64(), tree:add_le(f.type_len, tvb(4, 8))
	if long == UInt64(0) or long > UInt64(TYPE_MAX) then
		item:add_proto_expert_info(e.type_len)
		return tvb:len()
	end
	local T = long:tonumber()
	if ends_before(TYPE_AT + T, tvb, pinfo, tree) then
		return tvb:len()
	end
	local name = tvb(TYPE_AT, T):string()
	local kind = name:match("([^.]*)$"):gsub("Message$", "")
	item = tree:add(f.type, tvb(TYPE_AT, T))
	if not KINDS[name] then
		item:add_proto_expert_info(e.unknown)
	end
	tree:add(f.kind, kind):set_generated()

	pinfo.cols.info = kind
	local body_at = TYPE_AT + T + FAST_LEN + 8
	if ends_before(body_at, tvb, pinfo, tree) then
		return tvb:len()
	end
	local fast = dissect_fast(tvb(TYPE_AT + T, FAST_LEN), tree, kind)
	local has = tvb:reported_len() - body_at
	item = tree:add_le(f.body_len, tvb(body_at - 8, 8))
	if pinfo.fragmented or tvb:len() < tvb:reported_len() then
		tree:add_proto_expert_info(e.cut)
	elseif tvb(body_at - 8, 8):le_uint64() ~= UInt64(has) then
		item:add_proto_expert_info(e.body_len)
	elseif name == MY_PREPARE_OK then
		dissect_my_prepare_ok(tvb(body_at):tvb(), tree, fast)
	elseif KINDS[name] and has > 0 then
		pinfo.private["pb_msg_type"] = "message," .. name
		protobuf:call(tvb(body_at):tvb(), pinfo, tree)
	end

	local info = kind .. (fast.broadcast and " broadcast" or "")
	if THIRD[kind] then
		local third = kind == "Prepare" and "first" or "index"
		info = string.format("%s view %u op %u %s %u", info, fast.view, fast.op, third, fast.third)
	end
	pinfo.cols.info = info
	return tvb:len()
end

function paxrack.dissector(tvb, pinfo, root)
	local magic = tvb:len() >= 4 and tvb(0, 4):le_uint()
	if magic ~= MAGIC and magic ~= MAGIC_FRAGMENT then
		return 0 -- somebody else's
	end
	local tree = root:add(paxrack, tvb())
	tree:add_le(f.magic, tvb(0, 4))
	local dissect = magic == MAGIC and dissect_message or dissect_fragment
	local used = dissect(tvb, pinfo, tree)
	pinfo.cols.protocol = "VR"
	return used
end

local ports, bound = DissectorTable.get("udp.port"), nil

local function bind()
	if bound then
		ports:remove(bound, paxrack)
	end
	bound = paxrack.prefs.port
	ports:add(bound, paxrack)
end

paxrack.prefs_changed = bind
bind()
