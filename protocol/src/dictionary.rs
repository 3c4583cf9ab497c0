//! Names that small pieces are likely to hold, as a preset dictionary for deflate: a changeset of one count
//! would otherwise be mostly the names of its columns.
//!
//! They are TabletTracker's tables in their own order of columns. For any other schema the dictionary
//! does nothing and harms nothing. It is part of the wire format: never changed, only joined by a second.

use crate::varint::put;
use std::sync::OnceLock;

/// Table and columns, the most used last: deflate reaches the end of a dictionary with the fewest bits.
const LAYOUTS: &[(&str, &str)] = &[
    ("app_settings", "id setting_key setting_value description updated_at"),
    ("tablet_type_categories", "id category_name category_order"),
    ("roles", "id role_name display_name permissions description created_at"),
    (
        "shipments",
        "id po_id tracking_number carrier carrier_code shipped_date estimated_delivery \
         actual_delivery tracking_status last_checkpoint delivered_at last_checked_at notes \
         created_at updated_at",
    ),
    (
        "employees",
        "id username full_name password_hash role preferred_language is_active created_at \
         updated_at",
    ),
    (
        "tablet_types",
        "id tablet_type_name inventory_item_id category category_id is_variety_pack \
         tablets_per_bottle bottles_per_pack variety_pack_contents is_bottle_only",
    ),
    (
        "product_details",
        "id product_name tablet_type_id packages_per_display tablets_per_package \
         is_bottle_product is_variety_pack tablets_per_bottle bottles_per_display \
         displays_per_case variety_pack_contents category",
    ),
    (
        "machines",
        "id machine_name cards_per_turn machine_role is_active created_at updated_at area_name \
         machine_category raw_materials_json components_json compressor_json",
    ),
    (
        "receiving",
        "id po_id shipment_id received_date delivery_photo_path delivery_photo_zoho_id \
         total_small_boxes received_by notes created_at status receive_name closed",
    ),
    ("small_boxes", "id receiving_id box_number total_bags notes created_at batch_number_default"),
    (
        "bags",
        "id small_box_id bag_number bag_label_count pill_count tablet_type_id status created_at \
         batch_number batch_source receive_name reserved_for_bottles zoho_receive_pushed \
         zoho_receive_id zoho_receive_overs_id bag_weight_kg estimated_tablets_from_weight",
    ),
    (
        "purchase_orders",
        "id po_number zoho_po_id tablet_type zoho_status ordered_quantity current_good_count \
         current_damaged_count remaining_quantity closed created_at updated_at internal_status \
         parent_po_number machine_good_count machine_damaged_count vendor_id vendor_name",
    ),
    (
        "machine_counts",
        "id tablet_type_id machine_count employee_name count_date box_number bag_number \
         created_at machine_id",
    ),
    (
        "po_lines",
        "id po_id po_number inventory_item_id line_item_name quantity_ordered good_count \
         damaged_count created_at machine_good_count machine_damaged_count zoho_line_item_id",
    ),
    (
        "warehouse_submissions",
        "id employee_name product_name box_number bag_number bag_label_count displays_made \
         packs_remaining loose_tablets damaged_tablets discrepancy_flag assigned_po_id created_at \
         submission_date po_assignment_verified inventory_item_id admin_notes submission_type \
         bag_id needs_review cards_reopened bottles_made machine_id tablets_pressed_into_cards \
         receipt_number repack_bag_allocations repack_vendor_return_notes \
         repack_allocation_version repack_machine_count bottle_sealing_machine_count \
         bag_start_time bag_end_time case_count loose_display_count",
    ),
];

/// The dictionary: each layout as it is written in a piece.
pub(crate) fn names() -> &'static [u8] {
    static NAMES: OnceLock<Vec<u8>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let mut out = Vec::new();
        for (table, columns) in LAYOUTS {
            let columns: Vec<&str> = columns.split_ascii_whitespace().collect();
            put_name(&mut out, table);
            // An insert or a put, whose key is the first column.
            out.extend_from_slice(&[0, 1]);
            put(&mut out, columns.len() as u64);
            columns.iter().for_each(|name| put_name(&mut out, name));
        }
        out
    })
}

fn put_name(out: &mut Vec<u8>, name: &str) {
    put(out, name.len() as u64);
    out.extend_from_slice(name.as_bytes());
}
