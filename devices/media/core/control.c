/* SPDX-License-Identifier: BSD-2-Clause */

/* The ioctls of controls, their events, and priorities, as Linux's frameworks have them. Values outside of a range
 * are clamped to it; a list is checked as a whole before any value is set; a session that has subscribed gets an
 * event for each change, except for its own. A node's media_controls_ioctl() tries the table of handlers here, and
 * returns -ENOTTY for other ioctls. All with the media's lock held. */

#include "devices/media/core/control.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/param.h>

void media_controls_init(struct media_controls *controls, const struct media_control *rows, unsigned n)
{
        controls->rows = rows;
        controls->n = n;
        for (unsigned i = 0; i < n; i++)
                controls->values[i] = rows[i].initial;
}

static int control_find(const struct media_controls *controls, uint32_t id)
{
        for (unsigned i = 0; i < controls->n; i++)
                if (controls->rows[i].id == id)
                        return (int)i;
        return -EINVAL;
}

int32_t media_controls_get(const struct media_controls *controls, uint32_t id)
{
        int i = control_find(controls, id);

        return i < 0 ? 0 : controls->values[i];
}

/* Finds the control of a query: @id's, or the next one after it. No control here is compound. */
static int control_find_queried(const struct media_controls *controls, uint32_t id)
{
        const uint32_t after = id & V4L2_CTRL_ID_MASK;

        if (id == after)
                return control_find(controls, id);
        for (unsigned i = 0; (id & V4L2_CTRL_FLAG_NEXT_CTRL) && i < controls->n; i++)
                if (controls->rows[i].id > after)
                        return (int)i;
        return -EINVAL;
}

static int32_t control_clamp(const struct media_control *row, int32_t value)
{
        const int64_t step = row->step > 0 ? row->step : 1;
        int64_t rounded = row->minimum + (value - (int64_t)row->minimum + step / 2) / step * step;

        if (value <= row->minimum)
                return row->minimum;
        return rounded > row->maximum ? row->maximum : (int32_t)rounded;
}

/* ---- events ---- */

static void control_tell(struct media_controls *controls, int i, struct node_session *session, uint32_t changes)
{
        const struct media_control *row = &controls->rows[i];
        struct media_subscription *subscription = media_subscription_find(session, V4L2_EVENT_CTRL, row->id);
        struct v4l2_event event = {.type = V4L2_EVENT_CTRL, .id = row->id};

        event.u.ctrl = (struct v4l2_event_ctrl){
                .changes = changes,
                .type = row->type,
                .value = controls->values[i],
                .flags = row->flags,
                .minimum = row->minimum,
                .maximum = row->maximum,
                .step = row->step,
                .default_value = row->initial,
        };
        if (subscription)
                media_subscription_raise(session, subscription, &event);
}

static void control_set(struct media_controls *controls, int i, int32_t value, const struct node_session *by)
{
        struct node_session *session;

        if (controls->values[i] == value)
                return;
        controls->values[i] = value;
        TAILQ_FOREACH(session, &by->media->sessions, entry)
        {
                const struct media_subscription *own =
                        media_subscription_find(session, V4L2_EVENT_CTRL, controls->rows[i].id);

                if (own && (session != by || (own->flags & V4L2_EVENT_SUB_FL_ALLOW_FEEDBACK)))
                        control_tell(controls, i, session, V4L2_EVENT_CTRL_CH_VALUE);
        }
}

static int handle_subscribe(struct media_controls *controls, struct node_session *session, struct media_call *call)
{
        const struct v4l2_event_subscription *wanted = call->payload;
        struct media_subscription *subscription;
        const int i = wanted->type == V4L2_EVENT_CTRL ? control_find(controls, wanted->id) : -EINVAL;
        int r = i < 0 ? i : media_subscribe(session, wanted, &subscription);

        if (r == 0 && subscription && (wanted->flags & V4L2_EVENT_SUB_FL_SEND_INITIAL) &&
            controls->rows[i].type != V4L2_CTRL_TYPE_CTRL_CLASS)
                control_tell(controls, i, session, V4L2_EVENT_CTRL_CH_VALUE | V4L2_EVENT_CTRL_CH_FLAGS);
        return r;
}

static int handle_unsubscribe(struct media_controls *controls, struct node_session *session, struct media_call *call)
{
        return media_unsubscribe(session, call->payload);
}

/* ---- queries ---- */

static int control_query(const struct media_controls *controls, uint32_t id, struct v4l2_query_ext_ctrl *out)
{
        const int i = control_find_queried(controls, id);

        if (i < 0)
                return i;

        const struct media_control *row = &controls->rows[i];

        *out = (struct v4l2_query_ext_ctrl){
                .id = row->id,
                .type = row->type,
                .minimum = row->minimum,
                .maximum = row->maximum,
                .step = (__u64)row->step,
                .default_value = row->initial,
                .flags = row->flags,
                .elem_size = sizeof(int32_t),
                .elems = 1,
        };
        snprintf(out->name, sizeof(out->name), "%s", row->name);
        return 0;
}

static int handle_query_ext(struct media_controls *controls, struct node_session *session, struct media_call *call)
{
        struct v4l2_query_ext_ctrl *query = call->payload;

        return control_query(controls, query->id, query);
}

static int handle_query(struct media_controls *controls, struct node_session *session, struct media_call *call)
{
        struct v4l2_queryctrl *query = call->payload;
        struct v4l2_query_ext_ctrl found;
        int r = control_query(controls, query->id, &found);

        if (r < 0)
                return r;
        *query = (struct v4l2_queryctrl){
                .id = found.id,
                .type = found.type,
                .minimum = (int32_t)found.minimum,
                .maximum = (int32_t)found.maximum,
                .step = (int32_t)found.step,
                .default_value = (int32_t)found.default_value,
                .flags = found.flags,
        };
        memcpy(query->name, found.name, sizeof(query->name));
        return 0;
}

/* No control here is a menu. */
static int handle_query_menu(struct media_controls *controls, struct node_session *session, struct media_call *call)
{
        return -EINVAL;
}

/* ---- values ---- */

/* Checks the class of a list, which has to be that of some control; or the kind of values, for controls of any
 * class. */
static int list_check(const struct media_controls *controls, const struct v4l2_ext_controls *list, bool change)
{
        const uint32_t class = V4L2_CTRL_ID2WHICH(list->which);

        if (list->which == V4L2_CTRL_WHICH_REQUEST_VAL || (change && list->which == V4L2_CTRL_WHICH_DEF_VAL))
                return -EINVAL;
        if (list->which == V4L2_CTRL_WHICH_CUR_VAL || list->which == V4L2_CTRL_WHICH_DEF_VAL)
                return 0;
        for (unsigned i = 0; i < controls->n; i++)
                if (V4L2_CTRL_ID2WHICH(controls->rows[i].id) == class)
                        return 0;
        return -EINVAL;
}

/* Finds the control of @item in @list. -EACCES: it has one of the flags @forbidding. */
static int listed_control_find(const struct media_controls *controls, const struct v4l2_ext_controls *list,
                               const struct v4l2_ext_control *item, uint32_t forbidding)
{
        const int i = control_find(controls, item->id);

        if (i < 0 || (list->which != V4L2_CTRL_WHICH_CUR_VAL && list->which != V4L2_CTRL_WHICH_DEF_VAL &&
                      V4L2_CTRL_ID2WHICH(item->id) != V4L2_CTRL_ID2WHICH(list->which)))
                return -EINVAL;
        return controls->rows[i].flags & forbidding ? -EACCES : i;
}

static int handle_get_list(struct media_controls *controls, struct node_session *session, struct media_call *call)
{
        struct v4l2_ext_controls *list = call->payload;
        struct v4l2_ext_control *items = call->trailer;
        int r = list_check(controls, list, false);

        list->error_idx = list->count;
        for (uint32_t n = 0; r >= 0 && n < list->count; n++)
                r = listed_control_find(controls, list, &items[n], V4L2_CTRL_FLAG_WRITE_ONLY);
        for (uint32_t n = 0; r >= 0 && n < list->count; n++) {
                const int i = listed_control_find(controls, list, &items[n], 0);

                items[n].value =
                        list->which == V4L2_CTRL_WHICH_DEF_VAL ? controls->rows[i].initial : controls->values[i];
        }
        return r < 0 ? r : 0;
}

/* Clamps all values of a list. Only a call that sets nothing (TRY) reports the place of an error. */
static int list_try(const struct media_controls *controls, struct v4l2_ext_controls *list,
                    struct v4l2_ext_control *items)
{
        list->error_idx = list->count;

        int r = list_check(controls, list, true);

        for (uint32_t n = 0; r >= 0 && n < list->count; n++) {
                list->error_idx = n;
                r = listed_control_find(controls, list, &items[n], V4L2_CTRL_FLAG_READ_ONLY);
                if (r >= 0)
                        items[n].value = control_clamp(&controls->rows[r], items[n].value);
        }
        if (r >= 0)
                list->error_idx = list->count;
        return r < 0 ? r : 0;
}

static int handle_try_list(struct media_controls *controls, struct node_session *session, struct media_call *call)
{
        return list_try(controls, call->payload, call->trailer);
}

static int handle_set_list(struct media_controls *controls, struct node_session *session, struct media_call *call)
{
        struct v4l2_ext_controls *list = call->payload;
        const struct v4l2_ext_control *items = call->trailer;
        const int r = list_try(controls, list, call->trailer);

        list->error_idx = list->count;
        for (uint32_t n = 0; r == 0 && n < list->count; n++)
                control_set(controls, control_find(controls, items[n].id), items[n].value, session);
        return r;
}

static int handle_get(struct media_controls *controls, struct node_session *session, struct media_call *call)
{
        struct v4l2_control *control = call->payload;
        const int i = control_find(controls, control->id);

        if (i < 0 || (controls->rows[i].flags & V4L2_CTRL_FLAG_WRITE_ONLY))
                return i < 0 ? i : -EACCES;
        control->value = controls->values[i];
        return 0;
}

static int handle_set(struct media_controls *controls, struct node_session *session, struct media_call *call)
{
        struct v4l2_control *control = call->payload;
        const int i = control_find(controls, control->id);

        if (i < 0 || (controls->rows[i].flags & V4L2_CTRL_FLAG_READ_ONLY))
                return i < 0 ? i : -EACCES;
        control->value = control_clamp(&controls->rows[i], control->value);
        control_set(controls, i, control->value, session);
        return 0;
}

/* ---- priorities ---- */

static uint32_t highest_priority(struct media *media)
{
        const struct node_session *session;
        uint32_t highest = V4L2_PRIORITY_UNSET;

        TAILQ_FOREACH(session, &media->sessions, entry)
        highest = MAX(highest, session->priority);
        return highest;
}

int media_priority_check(const struct node_session *session)
{
        return session->priority < highest_priority(session->media) ? -EBUSY : 0;
}

static int handle_get_priority(struct media_controls *controls, struct node_session *session, struct media_call *call)
{
        *(uint32_t *)call->payload = highest_priority(session->media);
        return 0;
}

static int handle_set_priority(struct media_controls *controls, struct node_session *session, struct media_call *call)
{
        const uint32_t priority = *(uint32_t *)call->payload;

        if (priority < V4L2_PRIORITY_BACKGROUND || priority > V4L2_PRIORITY_RECORD)
                return -EINVAL;
        session->priority = priority;
        return 0;
}

static const struct {
        uint32_t code;
        int (*handle)(struct media_controls *controls, struct node_session *session, struct media_call *call);
} handlers[] = {
        {VIDIOC_QUERYCTRL, handle_query},
        {VIDIOC_QUERY_EXT_CTRL, handle_query_ext},
        {VIDIOC_QUERYMENU, handle_query_menu},
        {VIDIOC_G_CTRL, handle_get},
        {VIDIOC_S_CTRL, handle_set},
        {VIDIOC_G_EXT_CTRLS, handle_get_list},
        {VIDIOC_S_EXT_CTRLS, handle_set_list},
        {VIDIOC_TRY_EXT_CTRLS, handle_try_list},
        {VIDIOC_SUBSCRIBE_EVENT, handle_subscribe},
        {VIDIOC_UNSUBSCRIBE_EVENT, handle_unsubscribe},
        {VIDIOC_G_PRIORITY, handle_get_priority},
        {VIDIOC_S_PRIORITY, handle_set_priority},
};

int media_controls_ioctl(struct media_controls *controls, struct node_session *session, struct media_call *call)
{
        for (size_t i = 0; i < ARRAY_SIZE(handlers); i++)
                if (handlers[i].code == call->row->code)
                        return handlers[i].handle(controls, session, call);
        return -ENOTTY;
}
